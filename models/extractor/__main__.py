"""`python -m models.extractor`: train the extractor's model, and write it beside its card.

The card's figures are those of the cross-validation that the same run made, so they cannot be older than the model.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import sys
from collections import Counter
from pathlib import Path

from models.extractor import fit
from models.extractor.score import Scores, evaluate
from models.extractor.truth import Page

FOLDER = Path(__file__).parents[2] / "rust" / "html" / "model"
DATA = Path(__file__).parents[3] / "shared" / "data"
LIMIT = 200_000
"""Bytes that the model may have."""

CARD = """# The extractor's model

`extractor.bin`, {bytes:,} bytes, SHA-256 `{sha256}`, trained on {date} by `make extractor-model`
({versions}). Decides for each block of an HTML page whether it is main content: two tables of hashed
names and words with a learned weight each, two forests of boosted trees. It holds hashes, thresholds and sums, no
text. The same data and versions give the same bytes.

## Data

{pages:,} pages with a truth, {blocks:,} blocks, of which {labelled:,} have a label:

{sources}

WCXB (web content extraction benchmark, M. Foley) is licensed CC BY 4.0, credit is due to it; the labels of
trafilatura, scrapinghub's article extraction benchmark, readability, newspaper, goose3 and fundus are MIT or Apache
2.0. DAnIEL's labels stand in a GPL-3.0 repository: the model was trained without them, and they are its test in
languages that it hardly knows. Trained on pages of Western European languages for the most part; Arabic, Hebrew, Thai
and Japanese were hardly looked at.

## Figures

Mean F1 of words ("seg": of passages), five folds by registered domain on `crawl/`, every page scored by a model that
saw no page of its domain; 95 % intervals by resampling domains.

| group | pages | F1 | interval | precision | recall |
|---|---|---|---|---|---|
{figures}
"""


def sources(found: list[Page]) -> str:
    """A line a source: its pages, and whether they were trained on."""
    counts = Counter(page.source for page in found)
    lines = [f"- {name}: {n:,}" + (" (left out)" if name in fit.LEFT_OUT else "") for name, n in sorted(counts.items())]
    return "\n".join(lines)


def figures(scores: Scores) -> str:
    """A row of the table for each group."""
    rows = []
    for group in scores.groups:
        mean, estimate = scores.mean(group), scores.f1(group)
        cells = f"{mean.f1:.3f} | {estimate.low:.3f}–{estimate.high:.3f} | {mean.precision:.3f} | {mean.recall:.3f}"
        rows.append(f"| {group} | {scores.count(group)} | {cells} |")
    return "\n".join(rows)


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.extractor", description=__doc__)
    parser.add_argument("--crawl", type=Path, default=DATA / "crawl", help="folder that is trained on and evaluated")
    parser.add_argument("--more", type=Path, default=DATA / "crawl_more", help="folder that is only trained on")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of extractor.bin and CARD.md")
    parser.add_argument(
        "--every-source", action="store_true", help="cross-validate with the sources left out too, and write nothing"
    )
    options = parser.parse_args()
    for folder in (options.crawl, options.more):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder; it must hold WARC files and their ground truth")
    corpus = fit.load([options.crawl, options.more], frozenset() if options.every_source else fit.LEFT_OUT, folds=5)
    say(f"{len(corpus.pages):,} pages, {len(corpus.share):,} blocks")
    fitted = fit.fit_folds(corpus, 5, say)
    evaluated = [page for page, folder in zip(corpus.pages, corpus.folder, strict=True) if folder == 0]
    scores = evaluate(evaluated, fit.texts_of_folds(corpus, fitted.models))
    if options.every_source:
        print(figures(scores))
        return
    model = fit.fit_all(corpus, fitted)
    if len(model) > LIMIT:
        raise SystemExit(f"the model has {len(model):,} bytes, more than {LIMIT:,}: take fewer trees or tokens")
    versions = ("lightgbm", "scikit-learn", "numpy", "rapidfuzz")
    card = CARD.format(
        bytes=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        date=datetime.date.today().isoformat(),
        versions=", ".join(f"{name} {importlib.metadata.version(name)}" for name in versions),
        pages=len(corpus.pages),
        blocks=len(corpus.share),
        labelled=int((corpus.share >= 0).sum()),
        sources=sources(corpus.pages),
        figures=figures(scores),
    )
    (options.out / "extractor.bin").write_bytes(model)
    (options.out / "CARD.md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
