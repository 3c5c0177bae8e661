"""Decontamination: which rule finds what, and how fast, beside a scan that tokenizes with cl100k.

    python -m benchmarks.decontamination             # some ten minutes and 3 GB of memory
    python -m benchmarks.decontamination speed --json

The labelled set is that of benchmarks/decontamination_set.py. Recall is that of documents in which the planted item, or
one of the same question, was found; BBH, which is made of templates, counts apart. The rows `gpt3` to `paragraph` are
the rules of ../shared/reference/decontamination-study.md by these names:

    any 13-gram (GPT-3)             gpt3
    any 12-gram (datatrove)         datatrove
    8-gram token overlap >= .5      llama3
    PaLM, 70 % of 8-grams           palm
    paragraph 13-gram >= .5         paragraph
    seeds + alignment ("v3")        aligned
    decon-like .8                   none: it was the study's own approximation of another tool
"""

import base64
import io
import tarfile
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow as pa
import tiktoken
import zstandard

from benchmarks import texts
from benchmarks.decontamination_set import BATCH, Document, Finder, all_items, is_hard, labelled
from benchmarks.harness import Report, measure, peak_memory, run
from curate import _rust
from curate.audits.decontaminate import LENGTHS, length_of, same_question
from curate.audits.planting import KINDS
from curate.decontam.items import Item
from curate.decontam.rules import RULES

SEED = 20261126
NO_NEGATIVE = ("passage only", "sibling", "gsm8k train")


@cache
def labelled_set() -> tuple[list[Item], list[Document]]:
    with tempfile.TemporaryDirectory() as folder:
        return labelled(Path(folder), SEED)


class Outcome:
    """What a rule found in the labelled set."""

    def __init__(self, rule: str, indexed: list[Item], documents: list[Document]) -> None:
        background = [d.text for d in documents if not d.planted and d.kind not in NO_NEGATIVE]
        self.documents = documents
        self.found = Finder(rule, indexed, background).find([d.text for d in documents])
        questions = {item.name: same_question(item) for item in indexed}
        self.right: list[bool] = []
        self.pairs = Counter[bool]()
        for document, found in zip(documents, self.found, strict=True):
            wanted = same_question(document.item) if document.item else None
            hits = [questions[item.name] == wanted for item, _ in found]
            self.right.append(any(hits))
            if document.planted and document.item and not is_hard(document.item):
                self.pairs.update(hits)

    def recall(self, kind: str, words: str = "") -> tuple[int, int]:
        """(found, planted) of a kind, without BBH; `words` is a range of lengths."""
        of = [
            right
            for document, right in zip(self.documents, self.right, strict=True)
            if document.planted and document.kind == kind and document.item and not is_hard(document.item)
            and words in ("", length_of(document.item))
        ]  # fmt: skip
        return sum(of), len(of)

    def precision(self) -> float:
        """Share of the matches in planted documents that are of the planted question, without BBH."""
        return self.pairs[True] / max(1, self.pairs.total())

    def fired(self, *kinds: str) -> tuple[int, int]:
        """(with a match, all) of the documents of these kinds; without kinds, of real documents without items."""
        of = [
            bool(found)
            for document, found in zip(self.documents, self.found, strict=True)
            if not document.planted and (document.kind in kinds if kinds else document.kind not in NO_NEGATIVE)
        ]
        return sum(of), len(of)


def rules(report: Report) -> None:
    """Recall of every rule, false documents, and documents with the passage of an item only."""
    lines = []
    indexed, documents = labelled_set()
    for rule in RULES:
        outcome = Outcome(rule, indexed, documents)
        false, real = outcome.fired()
        recall = {kind: outcome.recall(kind) for kind in KINDS}
        cells = [f"{100 * found / planted:.1f}" for found, planted in recall.values()]
        lines.append([rule, *cells, f"{false} of {real:,}", "{} of {}".format(*outcome.fired("passage only"))])
        report.row(
            f"recall_10_edits_{rule}", 100 * recall["10 % edits"][0] / recall["10 % edits"][1], "%", 1, table="r"
        )
        report.row(f"false_documents_{rule}", false, "documents", 1, table="r")
        if rule == "aligned":
            by_length(report, outcome)
    report.table("Recall in %, without BBH, and false documents", ["rule", *KINDS, "false", "passage only"], lines)


def by_length(report: Report, outcome: Outcome) -> None:
    """Recall of the rule `aligned` by the length of the question, its precision, and where it was wrong."""
    lines = []
    for _, _, words in LENGTHS:
        counts = [outcome.recall(kind, words) for kind in KINDS]
        lines.append([words, str(counts[0][1]), *(f"{100 * found / max(1, n):.1f}" for found, n in counts)])
    report.table("aligned: recall in % by words of the question", ["words", "items", *KINDS], lines)
    report.row("item_precision", 100 * outcome.precision(), "%", 1, note="matches in planted documents, without BBH")
    kinds = Counter(
        d.kind for d, found in zip(outcome.documents, outcome.found, strict=True) if found and not d.planted
    )
    shown = [[kind, str(count), str(outcome.fired(kind)[1])] for kind, count in sorted(kinds.items())]
    report.table("aligned: documents without a planted item", ["kind", "with a match", "of"], shown)
    found, train = outcome.fired("gsm8k train")
    report.row("gsm8k_train", found, "documents", 1, note=f"of {train:,} with a match")


def cl100k() -> tiktoken.Encoding:
    """The encoding from the ranks in ../shared/data/tok."""
    with tarfile.open(fileobj=io.BytesIO(zstandard.open(texts.SHARED / "tok/tok.tar.zst").read())) as archive:
        file = archive.extractfile("cl100k_base.tiktoken")
        lines = file.read().splitlines() if file else []
    pattern = _rust.pattern_expression("gpt4")
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    return tiktoken.Encoding("cl100k", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _index_memory(folder: str) -> tuple[float, int]:
    """(CPU seconds, items) of reading and indexing all of the benchmarks."""
    made = measure(lambda: Finder("aligned", all_items(Path(folder)), []), rounds=1)
    return made.cpu, len(made.result.items)


def speed(report: Report) -> None:
    """Scan and index on one core; the peer tokenizes the same texts with cl100k, which a scan by its tokens needs."""
    with tempfile.TemporaryDirectory() as folder:
        before, peak, (seconds, items) = peak_memory(_index_memory, folder)
        report.row("index", seconds, "s", 1, note=f"{items:,} items, read and indexed")
        report.row("index_memory", peak - before, "MB", 1, note="with the items as Python objects")
        indexed = all_items(Path(folder))
    mixed = list(texts.mixed())
    finder = Finder("aligned", indexed, mixed[:: max(1, len(mixed) // 2000)])
    encoding = cl100k()
    groups = {
        "mixed": texts.column(mixed),
        "ascii": texts.column([text for text in mixed if text.isascii()]),
        "other_languages": texts.column([text for name, _, text in texts.documents("text", "books_multi")]),
    }
    for name, column in groups.items():
        size = texts.size(column)
        parts = [column.slice(at, BATCH) for at in range(0, len(column), BATCH)]
        ours = measure(lambda parts=parts: [finder.finder.find(part) for part in parts], rounds=3)
        few = pa.concat_arrays([part.slice(0, 40) for part in parts])
        peer = measure(lambda few=few: encoding.encode_ordinary_batch(few.to_pylist(), num_threads=1), rounds=1)
        report.row(f"scan_{name}", ours.rate(size), "MB/s", ours.rounds, "tiktoken cl100k", peer.rate(texts.size(few)))


if __name__ == "__main__":
    run("decontamination", [rules, speed], ["pyarrow", "tiktoken"])
