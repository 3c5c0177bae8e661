"""JSON, a document an object: lines, an array, or objects that span lines. Keys that have no column go into `extra`.

A line is a row, and a line that is of no use is one too: it is dropped as read.not_json, read.no_text or
read.too_large, with its first 400 bytes as text. Empty lines are none. What stands between the values of an array and
is none is likewise a row that is dropped.

An object that has a key twice keeps the last value, as other programs do; the earlier ones go into `extra` under the
key with an underscore, and the row is marked as read.repeated_key.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from curate import schema
from curate.io import columns, forms
from curate.io.batches import REPLACED, Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import Damaged, open_utf8, skipped_bytes
from curate.io.inputs import Slice

_SKIP = 1 << 20  # bytes at once, while a line is passed over, and of an array
_SHOWN = 8000  # bytes of a line that cannot be used, kept as its text; rejects show less, once personal values are out
_LAYOUT_BYTES = 4000  # of the keys of a line, for its set of keys to be remembered
_LAYOUTS = 1000  # sets of keys that are remembered; files whose every line has other keys must not fill memory
_BOM = b"\xef\xbb\xbf"

# (key, column or None for `extra`, what makes a value of the column's type)
Layout = list[tuple[str, str | None, Callable[[Any], Any]]]
Found = Iterator[tuple[int, bytes, int]]
"""(offset, bytes, length) of every line or value; the bytes are fewer than the length where that is over the limit."""


def read_jsonl(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """DOCUMENT rows of the lines that start in the slice.

    A row's origin_offset is the byte at which its line starts, in the decompressed file, and its doc_id follows from
    it.
    """
    with open_utf8(piece.path, piece.codec) as handle:
        yield from _rows(piece, counts, _lines(handle, piece, counts))


def read_json(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """DOCUMENT rows of a whole file of JSON in any layout; its first bytes tell in which."""
    with open_utf8(piece.path, piece.codec) as handle:
        begin = b""
        with contextlib.suppress(Damaged):  # which is told when it is read
            begin = handle.peek(forms.CONTENT)[: forms.CONTENT]  # type: ignore[attr-defined]
        values = forms.json_shape(begin) in ("array", "object")
        yield from _rows(piece, counts, (_values if values else _lines)(handle, piece, counts))


def _rows(piece: Slice, counts: ReadCounts, found: Found) -> Iterator[Rows]:
    """The rows of lines or values."""
    maker = RowMaker(piece, counts)
    batcher = Batcher(piece.source, piece.rel, "document", maker.carried)
    for offset, line, length in found:
        verdict: Verdict | None
        if length > piece.max_line:
            row, verdict = useless(line), Verdict("read.too_large", float(length), float(piece.max_line))
        elif not line.strip():
            continue
        else:
            row, verdict = maker.row(line, offset)
        place = {"origin_offset": offset, "doc_id": schema.doc_id(piece.rel, offset)}
        yield from batcher.add(place | row, min(length, piece.max_line), verdict)
    yield from batcher.rest()


def _lines(handle: BinaryIO, piece: Slice, counts: ReadCounts) -> Found:
    """Every line that starts in the slice, without its end; offsets in decompressed bytes.

    Of a line longer than `max_line` bytes only the beginning is given, and no more than that is held.
    """
    position = piece.start
    try:
        if position:
            handle.seek(position - 1)
            position += sum(rest_of_line(handle)) - 1  # the line that began in the slice before
        while piece.end is None or position < piece.end:
            line = handle.readline(piece.max_line + 2)  # with the longest line end
            if not line:
                return
            content = line.rstrip(b"\r\n")
            long = len(line) == piece.max_line + 2 and not line.endswith(b"\n")
            rest, end = rest_of_line(handle) if long else (0, 0)
            # A mark stands at the beginning of a file, and where files were put one after the other.
            yield position, content.removeprefix(_BOM), len(content) + rest
            position += len(line) + rest + end
    except Damaged as error:
        skipped = skipped_bytes(handle, position, piece.size)
        counts.damage(piece.rel, f"damaged after {position:,} decompressed bytes: {error}", skipped)


# A bracket, or a string as far as it goes, with its closing quote as group 1. A line end ends a string that lacks it.
_TOKEN = re.compile(rb'[\[\]{}]|"(?:[^"\\\n]++|\\(?s:.))*+(")?')
_STRING = re.compile(rb'(?:[^"\\\n]++|\\(?s:.))*+(")?')
_BETWEEN = re.compile(rb"(?:[\s,\x1e]|\xef\xbb\xbf)*+")
_STRAY = re.compile(rb"(?s:.)[^,\n\[\]{]*+")


def _values(handle: BinaryIO, piece: Slice, counts: ReadCounts) -> Found:
    """Every object inside the brackets of an array, or between them; offsets in decompressed bytes.

    Values are told apart by their brackets and strings alone, in one pass, so that a value that is no JSON costs itself
    and memory holds no more than `max_line` bytes of one.
    """
    reader = _Values(handle, piece.max_line)
    try:
        yield from reader
    except Damaged as error:
        skipped = skipped_bytes(handle, reader.position, piece.size)
        counts.damage(piece.rel, f"damaged after {reader.position:,} decompressed bytes: {error}", skipped)


class _Values:
    """The values of a stream; `buffer` begins at byte `position` of it."""

    def __init__(self, handle: BinaryIO, limit: int) -> None:
        self.handle, self.limit = handle, limit
        self.buffer, self.position = b"", 0
        self.inside = False  # of the brackets of an array

    def more(self, at: int) -> bool:
        """Drop what lies before `at` in the buffer, and read on; False at the end."""
        data = self.handle.read(_SKIP)
        self.buffer, self.position = self.buffer[at:] + data, self.position + at
        return bool(data)

    def __iter__(self) -> Found:
        at = 0
        while True:
            between = _BETWEEN.match(self.buffer, at)
            at = between.end() if between else at
            if len(self.buffer) - at < 3:
                grown, at = self.more(at), 0
                if grown:
                    continue
            first = self.buffer[at : at + 1]
            if not first:
                return
            if first == (b"]" if self.inside else b"["):
                self.inside = not self.inside
                at += 1
            elif first in (b"{", b"["):
                start = self.position + at
                value, length, at = self.value(at)
                yield start, value, length
            else:
                stray = _STRAY.match(self.buffer, at)
                end = stray.end() if stray else at + 1
                yield self.position + at, self.buffer[at:end].strip(), end - at
                at = end

    def value(self, at: int) -> tuple[bytes, int, int]:
        """(first `limit` bytes, length, place in the buffer after it) of the value that begins at `at`."""
        start, kept, length, depth, string = at, bytearray(), 0, 0, False
        while True:
            found = (_STRING.match if string else _TOKEN.search)(self.buffer, at)
            if found is None:
                at = len(self.buffer)
            else:
                at = found.end()
                bracket = b"" if string else found[0][:1]
                if bracket in (b"{", b"["):
                    depth += 1
                elif bracket in (b"}", b"]"):
                    depth -= 1
                else:
                    string = not found[1] and self.buffer[at : at + 1] != b"\n"
                if depth and not string and at < len(self.buffer):
                    continue
            # The end of the value, or of what was read; an escape that is cut stays for the next piece.
            kept += self.buffer[start : min(at, start + self.limit + 1 - len(kept))]
            length += at - start
            if depth == 0:
                return bytes(kept), length, at
            if not self.more(at):
                return bytes(kept + self.buffer), length + len(self.buffer), len(self.buffer)
            start = at = 0


def rest_of_line(handle: BinaryIO) -> tuple[int, int]:
    """Read to the end of the line, _SKIP bytes at once; (bytes before its end, bytes of its end)."""
    length = 0
    while part := handle.readline(_SKIP):
        length += len(part)
        if part.endswith(b"\n"):
            end = len(part) - len(part.rstrip(b"\r\n"))
            return length - end, end
    return length, 0


def useless(line: bytes) -> dict[str, Any]:
    """The row of a line that is of no use: how it begins, for the reject."""
    return {"text": line[:_SHOWN].decode("utf-8", "replace")}


def _not_json(detail: str) -> Verdict:
    """The verdict on such a line."""
    return Verdict("read.not_json", detail=detail[:_SHOWN])


class RowMaker:
    """Makes rows of objects; which key is which column is worked out once for every set of keys."""

    def __init__(self, piece: Slice, counts: ReadCounts) -> None:
        """Keys that `columns` names are counted from 0 on, so that one that no line has is known at the end."""
        self.piece, self.counts = piece, counts
        self.carried = columns.from_text(piece.carried)
        self.named = set(columns.wanted(piece.columns, trusted=piece.trusted))
        self.nested = [name for name in piece.columns.values() if "." in name]
        self.layouts: dict[tuple[str, ...], Layout] = {}
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)
        self.repeated: list[str] = []  # keys that an object of the line has twice
        self.mended = False  # whether the line held bytes that are not UTF-8
        for key in self.named:
            counts.named[piece.source, key] += 0

    def has(self, names: list[str]) -> None:
        """Note the columns of a table: they are there, also where they hold no value."""
        self.counts.meet(names)
        for name in self.named.intersection(names):
            self.counts.named[self.piece.source, name] += 1

    def row(self, line: bytes, offset: int) -> tuple[dict[str, Any], Verdict | None]:
        """The row of the line that starts at `offset`, with its verdict where it is of no use or was mended."""
        value = self.parsed(line)
        if isinstance(value, Verdict):
            return useless(line), value
        return self.of_object(value, line, offset)

    def parsed(self, line: bytes) -> dict[str, Any] | Verdict:
        """The object that a line is, or why it is none; `mended` and `repeated` are then those of it."""
        self.mended = False
        self.repeated.clear()
        try:
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text, self.mended = line.decode("utf-8", "replace"), True
            value = self.decoder.decode(text)
        except (ValueError, RecursionError) as error:
            return _not_json(str(error) if isinstance(error, ValueError) else "nested too deeply")
        return value if isinstance(value, dict) else _not_json(f"a JSON {type(value).__name__}, not an object")

    def of_object(self, value: dict[str, Any], shown: bytes, offset: int) -> tuple[dict[str, Any], Verdict | None]:
        """The row of the object at `offset`, with its verdict where it is of no use or was mended; a reject shows
        `shown`."""
        try:
            columns.lift(value, self.nested)
            for key in self.named.intersection(value):
                self.counts.named[self.piece.source, key] += 1
            row, replaced = self._fields(value, offset)
        except (ValueError, RecursionError) as error:
            return useless(shown), _not_json(str(error) if isinstance(error, ValueError) else "nested too deeply")
        if "text" not in row:
            has = ", ".join(sorted(value)) or "nothing"
            name = self.piece.columns.get("text", "text")
            detail = columns.valid_text(f'no text under the key "{name}"; the line has: {has}'[:_SHOWN])[0]
            return row | useless(shown), Verdict("read.no_text", detail=detail)
        if self.repeated:
            keys = columns.valid_text(", ".join(self.repeated)[:_SHOWN])[0]
            return row, Verdict("read.repeated_key", detail=f"the last value counts of: {keys}", action="mark")
        return row, REPLACED if self.mended or replaced else None

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """An object of the line; earlier values of a key that it repeats under the key with an underscore."""
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        last = {key: place for place, (key, _) in enumerate(pairs)}
        earlier: dict[str, list[Any]] = {}
        for place, (key, item) in enumerate(pairs):
            if last[key] != place:
                earlier.setdefault(key, []).append(item)
        for key, items in earlier.items():
            columns.put(value, f"{key}_", items[0] if len(items) == 1 else items)
        self.repeated += earlier
        return value

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
