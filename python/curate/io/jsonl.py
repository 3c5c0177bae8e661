"""JSON lines: a document a line. Keys that have no column go into `extra`, whatever they are called.

A line is a row, and a line that is of no use is one too: it is dropped as read.not_json, read.no_text or
read.too_large, with its first 400 bytes as text. Empty lines are none.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from curate import schema
from curate.io import columns
from curate.io.batches import REPLACED, Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import Damaged, open_decompressed, skipped_bytes
from curate.io.inputs import Slice

_SKIP = 1 << 20  # bytes at once, while a line is passed over
_SHOWN = 8000  # bytes of a line that cannot be used, kept as its text; rejects show less, once personal values are out
_LAYOUT_BYTES = 4000  # of the keys of a line, for its set of keys to be remembered
_LAYOUTS = 1000  # sets of keys that are remembered; files whose every line has other keys must not fill memory
_BOM = b"\xef\xbb\xbf"

# (key, column or None for `extra`, what makes a value of the column's type)
Layout = list[tuple[str, str | None, Callable[[Any], Any]]]


def read_jsonl(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """DOCUMENT rows of the lines that start in the slice.

    A row's origin_offset is the byte at which its line starts, in the decompressed file, and its doc_id follows from
    it.
    """
    reader = _Lines(piece, counts)
    batcher = Batcher(piece.source, piece.rel, "document", reader.carried)
    for offset, line, length in _lines(piece, counts):
        verdict: Verdict | None
        if length > piece.max_line:
            row, verdict = _useless(line), Verdict("read.too_large", float(length), float(piece.max_line))
        elif not line.strip():
            continue
        else:
            row, verdict = reader.row(line, offset)
        place = {"origin_offset": offset, "doc_id": schema.doc_id(piece.rel, offset)}
        yield from batcher.add(place | row, min(length, piece.max_line), verdict)
    yield from batcher.rest()


def _lines(piece: Slice, counts: ReadCounts) -> Iterator[tuple[int, bytes, int]]:
    """(offset, line without its end, its length) of every line that starts in the slice; offsets in decompressed bytes.

    Of a line longer than `max_line` bytes only the beginning is given, and no more than that is held.
    """
    with open_decompressed(piece.path) as handle:
        position = piece.start
        try:
            if position:
                handle.seek(position - 1)
                position += sum(_rest_of_line(handle)) - 1  # the line that began in the slice before
            while piece.end is None or position < piece.end:
                line = handle.readline(piece.max_line + 2)  # with the longest line end
                if not line:
                    return
                content = line.rstrip(b"\r\n")
                long = len(line) == piece.max_line + 2 and not line.endswith(b"\n")
                rest, end = _rest_of_line(handle) if long else (0, 0)
                yield position, content if position else content.removeprefix(_BOM), len(content) + rest
                position += len(line) + rest + end
        except Damaged as error:
            skipped = skipped_bytes(handle, position, piece.size)
            counts.damage(piece.rel, f"damaged after {position:,} decompressed bytes: {error}", skipped)


def _rest_of_line(handle: BinaryIO) -> tuple[int, int]:
    """Read to the end of the line, _SKIP bytes at once; (bytes before its end, bytes of its end)."""
    length = 0
    while part := handle.readline(_SKIP):
        length += len(part)
        if part.endswith(b"\n"):
            end = len(part) - len(part.rstrip(b"\r\n"))
            return length - end, end
    return length, 0


def _useless(line: bytes) -> dict[str, Any]:
    """The row of a line that is of no use: how it begins, for the reject."""
    return {"text": line[:_SHOWN].decode("utf-8", "replace")}


def _not_json(detail: str) -> Verdict:
    """The verdict on such a line."""
    return Verdict("read.not_json", detail=detail[:_SHOWN])


class _Lines:
    """Makes rows of lines; which key is which column is worked out once for every set of keys."""

    def __init__(self, piece: Slice, counts: ReadCounts) -> None:
        """Keys that `columns` names are counted from 0 on, so that one that no line has is known at the end."""
        self.piece, self.counts = piece, counts
        self.carried = columns.from_text(piece.carried)
        self.named = set(columns.wanted(piece.columns, trusted=piece.trusted))
        self.nested = [name for name in piece.columns.values() if "." in name]
        self.layouts: dict[tuple[str, ...], Layout] = {}
        for key in self.named:
            counts.named[piece.source, key] += 0

    def row(self, line: bytes, offset: int) -> tuple[dict[str, Any], Verdict | None]:
        """The row of the line that starts at `offset`, with its verdict where it is of no use or was mended."""
        mended = False
        try:
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text, mended = line.decode("utf-8", "replace"), True
            value = json.loads(text)
            if not isinstance(value, dict):
                return _useless(line), _not_json(f"a JSON {type(value).__name__}, not an object")
            columns.lift(value, self.nested)
            for key in self.named.intersection(value):
                self.counts.named[self.piece.source, key] += 1
            row, replaced = self._fields(value, offset)
        except (ValueError, RecursionError) as error:
            return _useless(line), _not_json(str(error) if isinstance(error, ValueError) else "nested too deeply")
        if "text" not in row:
            has = ", ".join(sorted(value)) or "nothing"
            name = self.piece.columns.get("text", "text")
            detail = columns.valid_text(f'no text under the key "{name}"; the line has: {has}'[:_SHOWN])[0]
            return row | _useless(line), Verdict("read.no_text", detail=detail)
        return row, REPLACED if mended or replaced else None

    def _fields(self, value: dict[str, Any], offset: int) -> tuple[dict[str, Any], bool]:
        """The columns of the line at `offset`, and whether its text was mended."""
        mended = False
        row: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, target, convert in self._layout(value):
            item = value[key]
            if target is None:
                columns.put(extra, key, item)
            elif item is None or (item == "" and target == "source"):
                continue
            elif target == "text" and isinstance(item, str):
                row["text"], mended = columns.valid_text(item)
            elif target == "extra":
                row["extra"] = columns.joined(item if isinstance(item, str) else columns.json_text(item), {})
            else:
                made = convert(item)
                if made is None:
                    columns.put(extra, key, item)
                    if target != "text":  # without a text the row is a reject
                        self.counts.put_aside(key, target, 1, item, f"{self.piece.rel} at {offset:,}")
                else:
                    row[target] = made
        if extra:
            row["extra"] = columns.joined(row.get("extra"), extra)
        return row, mended

    def _layout(self, value: dict[str, Any]) -> Layout:
        """Where each key of the line goes, in the order of the keys; remembered by the tuple of keys."""
        keys = tuple(value)
        found = self.layouts.get(keys)
        if found is None:
            self.counts.meet(columns.names_in(value) if self.nested else keys)
            targets = columns.targets(keys, self.piece.columns, trusted=self.piece.trusted)
            found = [(key, *self._place(target)) for key, target in zip(keys, targets, strict=True)]
            if len(self.layouts) < _LAYOUTS and sum(map(len, keys)) < _LAYOUT_BYTES:
                self.layouts[keys] = found
        return found

    def _place(self, target: str | None) -> tuple[str | None, Callable[[Any], Any]]:
        """(column, converter) of a target. A carried column takes any value as text; None is `extra`."""
        if target in columns.KNOWN["document"]:
            return target, columns.converter(target, schema.DOCUMENT.field(target).type)
        named = target in self.piece.columns and self.carried.get_field_index(target) >= 0
        return (target if named else None), columns.as_text
