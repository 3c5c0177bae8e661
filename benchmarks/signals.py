"""Measures and rules of the filter stage beside datatrove's filters, on the same documents in one run.

    python -m benchmarks.signals --json

The documents are Common Crawl documents (../shared/data/quality), books, news, mail, PEPs and wiki pages in English.
datatrove's Gopher repetition, Gopher quality, C4 and FineWeb filters see every document, with the words of a document
cached from filter to filter; ours gives all measures of all presets. Verdicts are compared: with spaCy's words they
must be datatrove's on 99.9 % of the documents.
"""

import json
import subprocess
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import environments
from benchmarks.harness import Report, measure, run
from benchmarks.texts import SHARED, column, documents, size
from curate import kernels
from curate.filters import english
from tests.parity import RULES, agreement, judge

MOST = 20_000  # characters of a document that datatrove is given: it takes 10 s for a megabyte


def english_documents() -> list[str]:
    """English documents of at most MOST characters."""
    texts = [text for _, _, text in documents("quality", "dclm_human_quality")]
    for name in ("books_en", "forum_20news", "news_reuters", "docs_peps", "wiki"):
        english_only = (text for _, lang, text in documents("text", name) if lang in ("", "en"))
        texts += islice((text for text in english_only if len(text) < MOST), 150)
    return [text for text in texts if len(text) < MOST]


def datatrove(texts: list[str]) -> dict[str, Any]:
    """Verdicts and CPU seconds of datatrove's filters, from an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        docs, out = Path(folder) / "docs.jsonl", Path(folder) / "out.json"
        docs.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        script = Path(__file__).with_name("datatrove_filters.py")
        subprocess.run([str(environments.python("datatrove")), str(script), str(docs), str(out)], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def speed(report: Report) -> None:
    """All measures with Unicode words and with spaCy's, cold and warm, beside the four filters of datatrove."""
    texts = english_documents()
    text = column(texts)
    n = size(text)
    theirs = datatrove(texts)
    rate = n / theirs["cpu"] / 1e6
    versions = ", ".join(f"{name} {version}" for name, version in theirs["versions"].items())
    note = f"{len(texts):,} documents, {n / 1e6:.1f} MB; {versions}, four filters"
    ours = measure(lambda: kernels.signals(text))
    report.row("signals_unicode_words", ours.rate(n), "MB/s", ours.rounds, "datatrove", rate, note)
    began = time.process_time()
    words = english.load()
    report.row("spacy_words_load", time.process_time() - began, "s", 1, note="spaCy's import and our patterns")
    cold = measure(lambda: kernels.signals(text, english=words), rounds=1)
    report.row("signals_spacy_words_cold", cold.rate(n), "MB/s", 1, "datatrove", rate)
    warm = measure(lambda: kernels.signals(text, english=words))
    report.row("signals_spacy_words_warm", warm.rate(n), "MB/s", warm.rounds, "datatrove", rate)
    cut = measure(lambda: kernels.cut_lines(text, whose="c4@datatrove", limits=C4))
    report.row("cut_lines_c4", cut.rate(n), "MB/s", cut.rounds)
    lines = []
    for name in RULES:
        cells = [name]
        for kind in ("spacy", "unicode"):
            verdicts, _ = judge(texts, name, words=kind)
            same, first = agreement(name, theirs["verdicts"][name], verdicts)
            cells += [f"{same / len(texts):.2%}", f"{first / len(texts):.2%}"]
            report.row(f"{name} {kind}", same / len(texts), "share", 1, table="agreement")
        lines.append(cells)
    header = ["preset", "verdict, spaCy's words", "first rule", "verdict, Unicode words", "first rule"]
    report.table("The same verdict as datatrove, and the same first rule", header, lines)


C4 = {"long_word": 1000.0, "citation": 0.0, "end_mark": 0.0, "few_words": 3.0, "javascript": 0.0, "policy": 0.0}


def languages(report: Report) -> None:
    """All measures of texts in other scripts."""
    found: dict[str, list[str]] = {}
    for _, lang, text in documents("text", "wiki"):
        found.setdefault(lang, []).append(text)
    for lang in ("ru", "zh", "ar", "ja"):
        if lang in found:
            text: pa.Array = column(found[lang])
            timing = measure(lambda text=text: kernels.signals(text))  # type: ignore[misc]
            report.row(f"signals_{lang}", timing.rate(size(text)), "MB/s", timing.rounds)


if __name__ == "__main__":
    assert SHARED.is_dir(), f"the real data that this benchmark reads is absent: {SHARED}"
    run("signals", [speed, languages], ["spacy", "pyarrow"])
