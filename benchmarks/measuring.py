"""Languages, classifiers, address lists and repair beside their peers: speed, and agreement or accuracy.

    python -m benchmarks.measuring --write          all of it, some minutes
    python -m benchmarks.measuring quality labels   accuracy alone

Speeds are of one core and count bytes of text. The classifier whose speed is measured is trained on the documents of
../shared/data/text by the settings that `curate train-classifier` has by default.
"""

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import fasttext
import ftfy
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import Report, measure, run
from benchmarks.texts import SHARED, column, documents, size
from benchmarks.texts import rows as _rows
from curate import kernels, language, lookups
from curate.classifier import measure as figures
from curate.classifier.examples import choose
from curate.classifier.settings import TrainSettings
from curate.classifier.train import NEGATIVE, POSITIVE, fitted, train
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts, read
from curate.stages import langid, normalize, url_filter

DOMAINS = {
    "books": ("books_en",), "books_multi": ("books_multi",), "encyclopedia": ("wiki",), "math": ("math_tex",),
    "word_problems": ("math_word_problems",), "forum": ("forum_20news",), "news": ("news_reuters",),
    "docs": ("docs_peps",),
}  # fmt: skip
RESAMPLES = 2000  # of a bootstrap


@cache
def english() -> pa.Array:
    """12 MB of English documents, each at most 20,000 characters."""
    texts, total = [], 0
    for name, lang, text in documents("text"):
        if lang in ("en", "") and name != "books_multi" and total < 12_000_000:
            texts.append(text[:20_000])
            total += len(texts[-1])
    return column(texts)


# -- speed -----------------------------------------------------------------------------------------------------


def prediction(report: Report) -> None:
    """Scores of a classifier: ours beside the fasttext package, which takes a list of strings, on the same tokens."""
    texts = english()
    for name, sources in (("quality", {"good": ("wiki", "books_en"), "bad": ("forum_20news", "news_reuters")}),
                          ("label", DOMAINS)):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            entries = {label: [_input(file) for file in files] for label, files in sources.items()}
            examples = choose(entries, TrainSettings(words="20-300")).train
            settings = TrainSettings().resolved(name == "quality")
            model = fitted(examples, settings, Path(folder))
            path = Path(folder) / "model.bin"
            path.write_bytes(model)
            theirs = fasttext.load_model(str(path))
        ours = lookups.Classifier(model)
        lines = [text.replace("\n", " ") for text in texts.to_pylist()]
        fast = measure(lambda ours=ours: ours.scores(texts, form="raw"))
        slow = measure(lambda theirs=theirs, lines=lines: theirs.predict(lines, k=-1), rounds=2)
        order = [[label.removeprefix("__label__") for label in row] for row in slow.result[0]]
        expected = np.array(
            [[row[1][row[0].index(label)] for label in ours.labels] for row in zip(order, slow.result[1], strict=True)]
        )
        found = np.asarray(fast.result.flatten()).reshape(expected.shape)
        worst = float(np.abs(found - np.minimum(expected, 1)).max())
        note = f"{len(ours.labels)} labels; scores differ by {worst:.1e} at most"
        report.row(f"{name}_predict", fast.rate(size(texts)), "MB/s", 5, "fasttext", slow.rate(size(texts)), note)
        whole = measure(lambda ours=ours, form=settings.form: ours.scores(texts, form=form))
        report.row(f"{name}_predict_{settings.form}", whole.rate(size(texts)), "MB/s", 5, note="tokens made as well")


def addresses(report: Report) -> None:
    """A million domains and a million addresses; the peer is a Python set of hosts and urllib's parser."""
    from urllib.parse import urlsplit

    rng = random.Random(1)
    hosts = [f"{rng.getrandbits(50):x}.example{i % 5000}.{('com', 'co.uk', 'de')[i % 3]}" for i in range(1_000_000)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "domains"
        path.write_text("\n".join(hosts))
        config = url_filter.UrlFilter(domains=[str(path)])
        loaded = measure(lambda: url_filter.State(config), rounds=3)
        plain = measure(lambda: set(path.read_text().split()), rounds=3)
    report.row("url_lists_load", loaded.cpu, "s", 3, "set of lines", plain.cpu, "1,000,000 domains")
    urls = pa.array(
        [f"https://www.{hosts[i] if i % 10 == 0 else f'host{i}.test'}/a/page-{i}.html?x={i}" for i in range(len(hosts))]
    )
    found = measure(lambda: loaded.result.lists.find(urls))
    listed, texts = plain.result, urls.to_pylist()
    peer = measure(lambda: sum((urlsplit(u).hostname or "").removeprefix("www.") in listed for u in texts), rounds=2)
    hits = int((np.asarray(found.result[0]) >= 0).sum())
    note = f"{hits:,} found, by the set {peer.result:,}"
    report.row("url_lists_find", len(urls) / found.cpu, "URLs/s", 5, "set and urlsplit", len(urls) / peer.cpu, note)


def repair(report: Report) -> None:
    """normalize whole, and its repair alone beside ftfy on everything, on the main texts of the crawl's pages."""
    truths = ("crawl/ground_truth.jsonl.zst", "crawl_more/wcxb-more-ground_truth.jsonl.zst")
    pages = column([row["main"] for name in truths for row in _rows(SHARED / name) if row.get("main")])
    state = normalize.State(normalize.Normalize())
    gated = measure(lambda: normalize.repaired(pages, state), rounds=3)
    texts = pages.to_pylist()
    alone = measure(lambda: [state.fix(text, state.fixes) for text in texts], rounds=1)
    same = sum(a == b for a, b in zip(gated.result.to_pylist(), alone.result, strict=True))
    changed = sum(a != b for a, b in zip(texts, alone.result, strict=True))
    note = f"{same:,} of {len(texts):,} texts equal; ftfy changes {changed}"
    report.row("repair", gated.rate(size(pages)), "MB/s", 3, f"ftfy {ftfy.__version__}", alone.rate(size(pages)), note)
    whole = measure(lambda: normalize.normalize(pages, state), rounds=3)
    report.row("normalize", whole.rate(size(pages)), "MB/s", 3)


# -- accuracy --------------------------------------------------------------------------------------------------


def languages(report: Report) -> None:
    """Sentences of the languages that the model knows, and the share of others' that it calls English."""
    rows = list(_rows(SHARED / "langid/lingua_sentences.jsonl.zst"))
    key = next(name for name in ("lang", "language", "label") if name in rows[0])
    text = next(name for name in ("text", "sentence") if name in rows[0])
    known = {*language.load().labels}
    rows = [row for row in rows if row[key] in known]
    state = langid.open_state(langid.LangId(), None)  # type: ignore[arg-type]
    found = measure(lambda: langid.languages(column([row[text] for row in rows]), state), rounds=3)
    said = found.result[0]
    right = sum(row[key] == label for row, label in zip(rows, said, strict=True)) / len(rows)
    others = [label for row, label in zip(rows, said, strict=True) if row[key] != "en"]
    n = f"{len(rows):,} sentences, {len({row[key] for row in rows})} languages"
    report.row("langid_accuracy", right, "share", 1, note=n)
    report.row(
        "langid_others_as_english", others.count("en") / len(others), "share", 1, note=f"{len(others):,} sentences"
    )


def labels(report: Report) -> None:
    """Held-out documents of 8 domains, each cut to 500 words; and 20 newsgroups beside scikit-learn."""
    with tempfile.TemporaryDirectory() as folder:
        entries = {label: [_input(file) for file in files] for label, files in DOMAINS.items()}
        card = train(entries, TrainSettings(words="20-500"), Path(folder) / "m")
    report.row(
        "labels_8_domains", card["heldout"]["accuracy"], "accuracy", 1, note=f"{card['heldout']['examples']:,} examples"
    )
    train_rows, test_rows = _newsgroups()
    ours = _accuracy_of_fasttext(train_rows, test_rows)
    theirs = _accuracy_of_sklearn(train_rows, test_rows)
    note = f"{len(train_rows):,} and {len(test_rows):,} messages"
    report.row("labels_20_newsgroups", ours, "accuracy", 1, "TF-IDF, logistic regression", theirs, note)


def _newsgroups() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(group, text) of training and test messages: every fifth is tested; without the header lines, which name it."""
    found: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for number, row in enumerate(_rows(SHARED / "text/forum_20news.jsonl.zst")):
        body = row["text"].partition("\n\n")[2]
        found[number % 5 == 0].append((row["id"].split("/")[1], body))
    return found


def _accuracy_of_fasttext(known: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]]) -> float:
    from curate.classifier.examples import Example

    rng = random.Random(1)
    examples = [Example(rng.randbytes(16), group, "", "", text) for group, text in known]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings().resolved(quality=False)
        model = lookups.Classifier(fitted(sorted(examples), settings, Path(folder)))
    scores = model.scores(column([text for _, text in asked]), form=settings.form)
    best = np.asarray(scores.flatten()).reshape(len(asked), -1).argmax(axis=1)
    return float(np.mean([model.labels[b] == group for b, (group, _) in zip(best, asked, strict=True)]))


def _accuracy_of_sklearn(known: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]]) -> float:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, min_df=3), LogisticRegression(C=10, max_iter=300))
    model.fit([text for _, text in known], [group for group, _ in known])
    return float(model.score([text for _, text in asked], [group for group, _ in asked]))


# -- quality ---------------------------------------------------------------------------------------------------


def quality(report: Report) -> None:
    """A classifier of good text against the labels of people, with a bootstrap interval, beside heuristic presets."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_quality_examples(folder)
        entries = {
            kind: [InputSettings(path=str(path), source=path.stem) for path in sorted((folder / kind).glob("*.jsonl"))]
            for kind in (POSITIVE, NEGATIVE)
        }
        card = train(entries, TrainSettings(words="300-1500", examples=4000), folder / "m")
        model = lookups.Classifier((folder / "m/model.bin").read_bytes())
    rows = list(_rows(SHARED / "quality/dclm_human_quality.jsonl.zst"))
    good = np.array([row["label"] == 1 for row in rows])
    texts = column([row["text"] for row in rows])
    found = np.asarray(model.scores(texts, form=card["text"]).flatten()).reshape(len(rows), -1)
    scores = {"classifier": found[:, model.labels.index(POSITIVE)].astype(float), **presets(texts)}
    report.row(
        "quality_heldout_auc", card["heldout"]["auc"], "AUC", 1, note=f"{card['heldout']['examples']:,} examples"
    )
    picks = np.random.default_rng(1).integers(0, len(rows), (RESAMPLES, len(rows)))
    lines, sampled = [], {}
    for name, values in scores.items():
        sampled[name] = np.array([figures.auc(good[pick], values[pick]) for pick in picks])
        low, high = np.percentile(sampled[name], [2.5, 97.5])
        differ = np.percentile(sampled["classifier"] - sampled[name], [2.5, 97.5])
        between = "" if name == "classifier" else f"{differ[0]:+.3f} … {differ[1]:+.3f}"
        lines.append([name, f"{figures.auc(good, values):.3f}", f"{low:.3f} … {high:.3f}", between])
    best = max((name for name in scores if name != "classifier"), key=lambda name: figures.auc(good, scores[name]))
    over = np.percentile(sampled["classifier"] - sampled[best], [2.5, 97.5])
    note = f"over {best}, the best preset; 95 % {over[0]:+.3f} … {over[1]:+.3f}"
    value = figures.auc(good, scores["classifier"])
    report.row("quality_auc", value, "AUC", 1, best, figures.auc(good, scores[best]), note)
    header = ["score", "AUC", "95 % interval", "classifier less this, 95 %"]
    report.table(f"{len(rows)} documents labeled by people", header, lines)


def presets(texts: pa.Array) -> dict[str, np.ndarray]:
    """Verdicts of the heuristic presets: 1 where a preset keeps the text, 0 where it drops it."""
    from curate.filters.presets import PRESETS
    from curate.stages import filter

    rows = pa.RecordBatch.from_pydict(
        {"doc_id": pa.array([i.to_bytes(16) for i in range(len(texts))], pa.binary(16)), "text": texts}
    )
    found = {}
    for name in PRESETS:
        applied = filter.apply(rows, filter.State(filter.Filter(preset=[name]), None))  # type: ignore[arg-type]
        found[name] = np.array([rule is None for rule in applied.verdicts.column("rule").to_pylist()], float)
    return found


def write_quality_examples(folder: Path) -> None:
    """JSONL files of good and bad text, a file a source, below folder/positive and folder/negative."""
    pages = {row["record_id"]: row for row in _rows(SHARED / "crawl/manifest.jsonl.zst")}
    truths = [
        *_rows(SHARED / "crawl/ground_truth.jsonl.zst"),
        *_rows(SHARED / "crawl_more/wcxb-more-ground_truth.jsonl.zst"),
    ]
    parts: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in truths:
        kind = row.get("page_type") or pages.get(row["record_id"], {}).get("page_type")
        if kind in ("article", "documentation"):
            parts.setdefault((POSITIVE, f"wcxb_{kind}"), []).append({"text": row["main"], "url": row["url"]})
    for kind, lang, text in documents("text"):
        if kind in ("wiki", "books_en", "docs_peps") and lang == "en":
            parts.setdefault((POSITIVE, kind), []).append({"text": text})
    kinds = {row["url"]: row.get("page_type") or pages.get(row["record_id"], {}).get("page_type") for row in truths}
    mains = {row["url"]: row.get("main") or "" for row in truths}
    for url, text in _whole_pages():
        kind = kinds.get(url)
        if kind in ("listing", "collection", "product"):
            parts.setdefault((NEGATIVE, kind), []).append({"text": text, "url": url})
        elif kind in ("article", "documentation", "service", "forum"):
            menus = "\n".join(line for line in text.splitlines() if line.strip() and line.strip() not in mains[url])
            parts.setdefault((NEGATIVE, "menus"), []).append({"text": menus, "url": url})
    for row in _rows(SHARED / "quality/spam_text.jsonl.zst"):
        parts.setdefault((NEGATIVE, "spam"), []).append({"text": row["text"]})
    for (label, source), rows in parts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / label / f"{source}.jsonl").write_text(lines)


def _whole_pages() -> Iterator[tuple[str, str]]:
    """(URL, all text with menus and the rest) of every page of the crawl."""
    from resiliparse.extract.html2text import extract_plain_text

    inputs = [InputSettings(path=str(SHARED / folder), format="warc") for folder in ("crawl", "crawl_more")]
    for task in cut(list_files(inputs), None):
        for rows in read(task, ReadCounts()):
            charsets = pc.fill_null(rows.batch.column("charset"), "")
            decoded = kernels.decode_html(rows.batch.column("payload"), charsets).field("text")
            for url, html in zip(rows.batch.column("url").to_pylist(), decoded.to_pylist(), strict=True):
                yield url, extract_plain_text(html[: 2 << 20], main_content=False, alt_texts=False)


# -- inputs ----------------------------------------------------------------------------------------------------


def _input(name: str) -> InputSettings:
    """A file of ../shared/data/text as an input; its name is its source."""
    return InputSettings(path=str(SHARED / f"text/{name}.jsonl.zst"), source=name)


if __name__ == "__main__":
    run("measuring", [prediction, addresses, repair, languages, labels, quality],
        ["pyarrow", "numpy", "fasttext-community", "ftfy", "scikit-learn"])  # fmt: skip
