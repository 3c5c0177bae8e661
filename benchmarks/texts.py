"""The texts that benchmarks read: real documents of ../shared/data and the standard library's source."""

import io
import json
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def documents(folder: str, names: str = "*") -> Iterator[tuple[str, str, str]]:
    """(file's name, language or "", text) of every document in ../shared/data/<folder>/<names>.jsonl.zst."""
    paths = sorted((SHARED / folder).glob(f"{names}.jsonl.zst"))
    if not paths:
        raise SystemExit(f"the real data that this benchmark reads is absent: {SHARED / folder}")
    for path in paths:
        for row in rows(path):
            yield path.name.partition(".")[0], row.get("lang") or "", row["text"]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl.zst file."""
    if not path.exists():
        raise SystemExit(f"the real data that this benchmark reads is absent: {path}")
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file)
        yield from map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))


def code() -> Iterator[str]:
    """The source files of the standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if not {"test", "tests", "idle_test", "site-packages", "dist-packages"} & {*path.relative_to(root).parts}:
            yield path.read_text(encoding="utf-8", errors="replace")


@cache
def mixed(limit: int = 91_000_000) -> tuple[str, ...]:
    """Prose, mail, mathematics and source code, cut after the document that reaches `limit` bytes."""
    texts, size = [], 0
    for text in [*(text for _, _, text in documents("text")), *code(), *_tests()]:
        if size >= limit:
            break
        texts.append(text)
        size += len(text.encode())
    return tuple(texts)


def _tests() -> Iterator[str]:
    """The standard library's tests, which fill up what its source leaves."""
    root = Path(sysconfig.get_path("stdlib")) / "test"
    for path in sorted(root.rglob("*.py")):
        yield path.read_text(encoding="utf-8", errors="replace")


def column(texts: Iterator[str] | list[str] | tuple[str, ...]) -> pa.Array:
    return pa.array(list(texts), pa.large_string())


def size(texts: pa.Array) -> int:
    """Bytes of text in a column."""
    offsets = texts.buffers()[1]
    ends = memoryview(offsets).cast("q")
    return int(ends[texts.offset + len(texts)] - ends[texts.offset])
