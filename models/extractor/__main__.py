"""`python -m models.extractor`: train the extractor's model, and write it beside its card.

The card's figures are those of the cross-validation that the same run made, so they cannot be older than the model.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curate import kernels
from models.extractor import documentation, fit
from models.extractor.score import F1, Scores, evaluate, kinds, main_text, page_recall
from models.extractor.truth import KINDS, Page

FOLDER = Path(__file__).parents[2] / "rust" / "html" / "model"
DATA = Path(__file__).parents[3] / "shared" / "data"
LIMIT = 350_000
"""Bytes that the model may have."""
POLICIES = ("balanced", "precision", "recall")

CARD = """# The extractor's model

`extractor.bin`, {bytes:,} bytes, SHA-256 `{sha256}`, trained on {date} by `make extractor-model`
({versions}). Decides for each block of an HTML page whether it is main content: two tables of hashed
names and words with a learned weight each, two forests of boosted trees; and for the page which kind it is: a table of
tokens with a weight for each kind. It holds hashes, thresholds and sums, no text. The same data and versions give the
same bytes.

## Data

{pages:,} pages with a truth, {blocks:,} blocks, of which {labelled:,} have a label:

{sources}

WCXB (web content extraction benchmark, M. Foley) is licensed CC BY 4.0, credit is due to it; the labels of
trafilatura, scrapinghub's article extraction benchmark, readability, newspaper, goose3 and fundus are MIT or Apache
2.0. DAnIEL's labels stand in a GPL-3.0 repository: the model was trained without them, and they are its test in
languages that it hardly knows. Pages of documentation (`models/extractor/documentation.py`:
{generators})
come from the Rust toolchain and from Debian's packages; all words of their main element are their truth. They are
trained on and not scored, and no generator of the half that `benchmarks/structure` measures is among them.
Trained on pages of Western European languages for the most part; Arabic, Hebrew, Thai and Japanese were hardly looked
at.

## Figures

Mean F1 of words ("seg": of passages), {folds} folds by registered domain on `crawl/`, every page scored by a model that
saw no page of its domain; 95 % intervals by resampling domains. DAnIEL, which is left out, is scored by the model that
ships.

| group | pages | F1 | interval | precision | recall |
|---|---|---|---|---|---|
{figures}

The same on the pages of WCXB in `crawl/` and `crawl_more/` together:

| group | pages | F1 | interval | precision | recall |
|---|---|---|---|---|---|
{both}

## Languages

Most of DAnIEL's languages were hardly trained on. Of some articles only the first of several pages was crawled: how
many words of the truth stand in the page at all, and how many of those are in the text, mean of the pages.

| language | pages | in the page | of those in the text | beside English |
|---|---|---|---|---|
{languages}

## Policies

What `policy: precision` and `policy: recall` change beside `balanced`, on the same pages:

| group | policy | precision | recall | F1 |
|---|---|---|---|---|
{policies}

## Kinds of pages

The kind that is most probable beside WCXB's label, {kind_pages:,} pages of both folders, by the model of each fold.

| kind | precision | recall | F1 |
|---|---|---|---|
{kinds}
"""


def sources(found: list[Page]) -> str:
    """A line a source: its pages, and whether they were trained on."""
    counts = Counter(page.source for page in found)
    lines = [f"- {name}: {n:,}" + (" (left out)" if name in fit.LEFT_OUT else "") for name, n in sorted(counts.items())]
    return "\n".join(lines)


def figures(scores: Scores, only: str = "") -> str:
    """A row of the table for each group whose name begins with `only`."""
    rows = []
    for group in (name for name in scores.groups if name.startswith(only)):
        mean, estimate = scores.mean(group), scores.f1(group)
        cells = f"{mean.f1:.3f} | {estimate.low:.3f}–{estimate.high:.3f} | {mean.precision:.3f} | {mean.recall:.3f}"
        rows.append(f"| {group} | {scores.count(group)} | {cells} |")
    return "\n".join(rows)


def policy_rows(by_policy: Mapping[str, Scores]) -> str:
    """What each policy changes beside the balanced one, with its interval."""
    rows, balanced = [], by_policy["balanced"]
    for group in ("WCXB", "DAnIEL", "full text"):
        for name in (name for name in by_policy if name != "balanced"):
            each = [by_policy[name].above(balanced, group, what) for what in ("precision", "recall", "f1")]
            cells = " | ".join(f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" for e in each)
            rows.append(f"| {group} | {name} | {cells} |")
    return "\n".join(rows)


def kind_rows(found: Mapping[str, F1]) -> str:
    """A row of the table for each kind of page, and their means."""
    return "\n".join(f"| {kind} | {f.precision:.3f} | {f.recall:.3f} | {f.f1:.3f} |" for kind, f in found.items())


def language_rows(corpus: fit.Corpus, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A row of the table for each language of the pages that are left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    counts, texts, *_ = kernels.html_blocks(corpus.bytes, corpus.charsets)
    ends = np.cumsum(counts.to_numpy())
    for page, end, count in zip(corpus.pages, ends.tolist(), counts.to_pylist(), strict=True):
        if page.source in fit.LEFT_OUT and page.truth:
            whole = " ".join(texts[end - count : end].to_pylist())
            pair = page_recall(rows[page.record_id]["text"], main_text(page.truth), whole)
            found.setdefault(str(page.lang), []).append(pair)
    means = {language: np.mean(pairs, axis=0) for language, pairs in sorted(found.items())}
    english = means["English"][1]
    return "\n".join(
        f"| {language} | {len(found[language])} | {there:.3f} | {recall:.3f} | {recall - english:+.3f} |"
        for language, (there, recall) in means.items()
    )


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def tables(corpus: fit.Corpus, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The card's tables of figures, from what models that saw no page of its domain made of every page."""

    def scored(pages: list[Page], policy: str) -> Scores:
        column = "text" if policy == POLICIES[0] else f"text_{policy}"
        return evaluate(pages, {name: row[column] for name, row in rows.items()})

    crawl = corpus.of_folder(0)
    by_policy = {policy: scored(crawl, policy) for policy in POLICIES}
    typed = [page for page in corpus.pages if page.page_type in KINDS]
    return {
        "figures": figures(by_policy["balanced"]),
        "both": figures(scored(corpus.pages, "balanced"), "WCXB"),
        "languages": language_rows(corpus, rows),
        "policies": policy_rows(by_policy),
        "kind_pages": len(typed),
        "kinds": kind_rows(kinds(typed, {name: row["page_type"] for name, row in rows.items()})),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.extractor", description=__doc__)
    parser.add_argument("--crawl", type=Path, default=DATA / "crawl", help="folder that is trained on and evaluated")
    parser.add_argument("--more", type=Path, default=DATA / "crawl_more", help="folder that is only trained on")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of extractor.bin and CARD.md")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation (5)")
    parser.add_argument(
        "--every-source", action="store_true", help="cross-validate with the sources left out too, and write nothing"
    )
    options = parser.parse_args()
    for folder in (options.crawl, options.more):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder; it must hold WARC files and their ground truth")
    corpus = fit.load(
        [options.crawl, options.more], frozenset() if options.every_source else fit.LEFT_OUT, options.folds
    )
    say(f"{len(corpus.pages):,} pages, {len(corpus.share):,} blocks")
    fitted = fit.fit_folds(corpus, options.folds, say)
    rows = fit.extract_folds(corpus, fitted.models, POLICIES)
    if options.every_source:
        print(figures(evaluate(corpus.of_folder(0), {name: row["text"] for name, row in rows.items()})))
        return
    model = fit.fit_all(corpus, fitted)
    left_out = np.array([page.source in fit.LEFT_OUT for page in corpus.pages])
    rows |= fit.extract(corpus, left_out, model, POLICIES)
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
        folds=options.folds,
        generators=", ".join(each.name for each in documentation.generators()),
        **tables(corpus, rows),
    )
    (options.out / "extractor.bin").write_bytes(model)
    (options.out / "CARD.md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
