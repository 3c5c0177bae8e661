"""A labelled set for decontamination: real benchmark items planted into real text, and real text without them.

Items come from ../shared/data/bench. The planted ones are those that the study of the rule
(../shared/reference/decontamination-study.md) kept out of its index, with another seed: neither thresholds nor weights
were chosen on them. Another fifth of the items is kept out of the index here; these siblings of indexed items are
documents of their own. Documents without items come from ../shared/data too: books, wiki, news, forum, web, licences,
terms, TeX, source code.
"""

import bz2
import hashlib
import io
import random
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import zstandard

from benchmarks import texts
from curate import kernels
from curate.audits.planting import Planter
from curate.decontam.items import Item, Keys, read_items
from curate.decontam.rules import ALIGNED, RULES
from tests.corpus import write_jsonl

# The answer of these goes on with the sentence of the question.
CONTINUED = {"copa", "lambada_openai", "hellaswag"}
PIECE = 900  # words of a piece of a long text
BATCH = 2000  # texts of a batch


class Document(NamedTuple):
    """A text: `kind` is the way its item was planted in, or the kind of text that holds none."""

    text: str
    kind: str
    item: Item | None = None  # that was planted, or whose sibling or passage it is
    planted: bool = False


def write_benchmarks(folder: Path) -> list[Path]:
    """All of ../shared/data/bench as files that decontaminate reads: CORE, MMLU, HellaSwag, BBH and MGSM."""
    bench = texts.SHARED / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(zstandard.open(bench / "bench_core.tar.zst").read())) as archive:
        for member in archive:
            data = archive.extractfile(member)
            if data:
                (folder / Path(member.name).name).write_bytes(data.read())
    (folder / "mmlu.jsonl").write_bytes(zstandard.open(bench / "mmlu.jsonl.zst").read())
    lines = bz2.decompress((bench / "hellaswag_val_full.txt.bz2").read_bytes()).decode().split("\n")
    starts = range(0, len(lines) - 5, 6)
    write_jsonl(
        folder / "hellaswag.jsonl",
        ({"ctx": lines[i], "endings": lines[i + 2 : i + 6], "label": int(lines[i + 1])} for i in starts),
    )
    for path in sorted(folder.glob("mgsm_*.tsv")):
        rows = [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").strip("\n").split("\n")]
        write_jsonl(path.with_suffix(".jsonl"), ({"question": q, "answer": a} for q, a in rows))
        path.unlink()
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".jsonl"))


def all_items(folder: Path) -> list[Item]:
    return [item for path in write_benchmarks(folder) for item in read_items(path, path.name, Keys())]


def is_hard(item: Item) -> bool:
    """Of BBH, whose tasks are made from templates."""
    return item.benchmark in BBH


BBH = {
    "boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa", "dyck_languages",
    "formal_fallacies", "geometric_shapes", "hyperbaton", "logical_deduction_five_objects",
    "logical_deduction_seven_objects", "logical_deduction_three_objects", "movie_recommendation",
    "multistep_arithmetic_two", "navigate", "object_counting", "penguins_in_a_table",
    "reasoning_about_colored_objects", "ruin_names", "salient_translation_error_detection", "snarks",
    "sports_understanding", "temporal_sequences", "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects", "web_of_lies", "word_sorting",
}  # fmt: skip


def unused_by_the_study(item: Item) -> bool:
    """Whether the study kept the item out of its index. It kept none of GSM8K and MGSM out."""
    name = f"bbh/{item.benchmark}" if is_hard(item) else item.benchmark.removesuffix("_openai")
    options = [] if name == "boolq" else [choice.strip() for choice in item.choices]
    key = f"{name}|{item.question.strip()}|{options}"
    return int(hashlib.md5(key.encode()).hexdigest()[:8], 16) % 100 < 20


def labelled(folder: Path, seed: int, share: float = 1.0) -> tuple[list[Item], list[Document]]:
    """(items to index, documents). With `share` below 1 fewer items are planted and fewer texts read."""
    rng = random.Random(seed)
    items = all_items(folder)
    free = [item for item in items if item.benchmark == "gsm8k" or item.benchmark.startswith("mgsm")
            or unused_by_the_study(item)]  # fmt: skip
    by: dict[str, list[Item]] = {}
    for item in free:
        by.setdefault(item.benchmark, []).append(item)
    planted = []
    for name, of in sorted(by.items()):
        most = {"mmlu": 250, "hellaswag": 150}.get(name, 20 if name.startswith("mgsm") else 12 if name in BBH else 70)
        planted += rng.sample(of, min(len(of), max(1, round(most * share))))
    chosen = {item.name for item in planted}
    kept_out = {
        item.name
        for item in items
        if item.name not in chosen and not item.benchmark.startswith(("gsm8k", "mgsm")) and rng.random() < 0.2
    }
    indexed = [item for item in items if item.name not in kept_out]
    documents = [Document(text, kind) for kind, text in without_items() if share == 1 or rng.random() < share]
    in_prose = ("book", "forum", "news", "web", "wiki", "peps")
    hosts = [d.text for d in documents if d.kind in in_prose and 150 < len(d.text.split()) < 1200]
    rng.shuffle(hosts)
    planter = Planter(hosts, seed)
    for item in planted:
        for kind, text in planter.plants(item, item.benchmark in CONTINUED):
            documents.append(Document(text, kind, item, planted=True))
    passages = [item for item in indexed if item.passage]
    sources = rng.sample(passages, min(round(400 * share), len(passages)))
    documents += [Document(planter.between(item.passage), "passage only", item) for item in sources]
    siblings = [item for item in items if item.name in kept_out]
    documents += [Document(planter.rendered(item, item.benchmark in CONTINUED), "sibling", item) for item in siblings]
    return indexed, documents


def without_items() -> Iterator[tuple[str, str]]:
    """(kind, text): some 29,000 real documents."""
    names = {"books_en": "book", "books_multi": "book, other", "math_tex": "tex", "docs_peps": "peps", "wiki": "wiki",
             "forum_20news": "forum", "news_reuters": "news", "math_word_problems": "gsm8k train"}  # fmt: skip
    for name, kind in names.items():
        for _, language, text in texts.documents("text", name):
            long = name not in ("forum_20news", "news_reuters", "math_word_problems")
            shown = "wiki, other" if kind == "wiki" and language not in ("", "en") else kind
            yield from ((shown, piece) for piece in (pieces(text) if long else [text]) if len(piece) > 40)
    for name, key, kind in (("quality/dclm_human_quality", "text", "web"), ("neardup/licenses", "text", "licences")):
        folder, _, pattern = name.partition("/")
        yield from ((kind, text) for text in _rows(folder, pattern, key))
    yield from (("web", text) for text in _rows("crawl", "ground_truth", "text"))
    for number, (_, _, text) in enumerate(texts.documents("neardup", "ota_contrib_all")):
        if number % 30 == 0:
            yield "terms", text
    yield from (("code", text) for text in texts.code())


def _rows(folder: str, names: str, key: str) -> Iterator[str]:
    """The texts of files whose rows may have none."""
    for path in sorted((texts.SHARED / folder).glob(f"{names}.jsonl.zst")):
        for found in texts.rows(path):
            text = found.get(key) or found.get("main") or ""
            text = "\n".join(map(str, text)) if isinstance(text, list) else str(text)
            if len(text) > 40:
                yield text


def pieces(text: str) -> Iterator[str]:
    """Paragraphs put together until they have PIECE words."""
    held: list[str] = []
    words = 0
    for paragraph in re.split(r"\n\s*\n", text):
        held.append(paragraph)
        words += len(paragraph.split())
        if words >= PIECE:
            yield "\n\n".join(held)
            held, words = [], 0
    if held:
        yield "\n\n".join(held)


class Finder:
    """A rule over items, with the words of `background` weighed as the stage weighs those of its documents."""

    def __init__(self, rule: str, items: list[Item], background: list[str]) -> None:
        facts, aligned = RULES[rule], rule == ALIGNED
        self.items = items
        shown = [i.question if aligned else "\n".join((i.passage, i.question, i.answer)) for i in items]
        options = [item.choices if aligned else [] for item in items]
        counts = pa.array([len(one) for one in options], pa.uint32())
        answers = [item.answer if aligned else "" for item in items]
        self.index = kernels.index_items(
            texts.column(shown), texts.column([o for of in options for o in of]), counts, texts.column(answers),
            n=facts.n, max_items=facts.max_items, ngrams=not aligned,
        )  # fmt: skip
        columns: dict[str, Any] = {**self.index._asdict(), "option_count": counts}
        if aligned:
            found, stretches = kernels.count_stretches(texts.column(background), self.index.word)
            weight = kernels.word_weights(self.index.items, found, items=len(items), stretches=stretches)
            self.finder: Any = kernels.AlignedFinder(columns, weight, n=facts.n)
        else:
            length = pa.array([len(one) for one in self.index.question], pa.uint32())
            self.finder = kernels.NgramFinder(
                columns, length, n=facts.n, counting=facts.counting, share=facts.share
            )  # fmt: skip

    def find(self, documents: list[str]) -> list[list[tuple[Item, bool]]]:
        """(item, whether it is sure) of every document."""
        out: list[list[tuple[Item, bool]]] = [[] for _ in documents]
        for at in range(0, len(documents), BATCH):
            found = self.finder.find(texts.column(documents[at : at + BATCH]))
            rows = zip(found.row.to_pylist(), found.item.to_pylist(), found.sure.to_pylist(), strict=True)
            for row, item, sure in rows:
                out[at + row].append((self.items[item], sure))
        return out
