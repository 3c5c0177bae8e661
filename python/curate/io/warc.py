"""WARC files, whole or damaged: every response becomes a row, everything else is counted.

There are two layers. The container layer walks the gzip members itself (zlib, one bounded buffer). So it sees a missing
end, garbage between members and damage, and goes on at the next member; a slice owns the members that start in it. The
record layer is fastwarc, given one member at a time: a WARC has a member for each record, as a rule.

Content codings (gzip, deflate, br, zstd) are decoded here, to at most 64 MiB, since fastwarc's own decoding loses the
rest of a file at a bad record. The format is that of ISO 28500 (WARC 1.0 and 1.1).
"""

import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import brotli
import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from curate import schema
from curate.io import columns
from curate.io.batches import Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import open_file
from curate.io.inputs import Slice
from curate.io.times import parse_time
from curate.schema import Kind

MAX_RECORD = 64 << 20  # bytes of a record's block, and of a decoded body
_CHUNK = 1 << 20  # bytes that are read at once, and given at once of a member
_MAGIC = b"\x1f\x8b\x08"  # of a gzip member: its two bytes, and deflate, the only method there is


class GzipMembers:
    """The gzip members of a file that start in [start, end), each as a stream of its decompressed bytes.

    `buffer` holds the stored bytes from `position` on: at most a chunk, and the few bytes before it that are still
    needed. When the next member is asked for, what was not read of the one before is read and dropped.
    """

    def __init__(self, handle: BinaryIO, piece: Slice, counts: ReadCounts) -> None:
        self.handle, self.piece, self.counts = handle, piece, counts
        self.position = piece.start  # file offset of buffer[0]
        self.buffer = b""
        handle.seek(piece.start)

    def fill(self, n: int) -> bool:
        """Make at least n bytes available; False at the end of the file."""
        while len(self.buffer) < n:
            more = self.handle.read(_CHUNK)
            if not more:
                return False
            self.buffer += more
        return True

    def drop(self, n: int) -> None:
        """Move on by n bytes of the buffer."""
        self.buffer = self.buffer[n:]
        self.position += n

    def __iter__(self) -> Iterator["Member"]:
        """Each member; what stands between members and is none is counted as skipped.

        A slice that does not begin the file begins at the next member quietly: the bytes before it are of the slice
        before.
        """
        if self.position and not self._resync(quiet=True):
            return
        while self.fill(1):
            if not (self.fill(3) and self.buffer.startswith(_MAGIC)):
                if not self._resync(quiet=False):
                    return
                continue
            if self.piece.end is not None and self.position >= self.piece.end:
                return
            member = Member(self)
            yield member
            member.finish()

    def _resync(self, *, quiet: bool) -> bool:
        """Move to the next member whose content looks like a record; False at the end of the file or slice."""
        start = self.position
        found = False
        while self.fill(3):
            at = self.buffer.find(_MAGIC)
            if at < 0:
                self.drop(len(self.buffer) - 2)
                if not self.fill(3):
                    break
                continue
            self.drop(at)
            if self._looks_like_record():
                found = True
                break
            self.drop(1)
        skipped = self.position - start if found else self.position + len(self.buffer) - start
        if not found:
            self.buffer = b""
        if skipped and not quiet:
            self.counts.damage(self.piece.rel, f"no gzip member at byte {start:,}", skipped)
        return found

    def _looks_like_record(self) -> bool:
        """Whether the content of a member that begins here begins as a WARC record does. The magic bytes alone say
        little: they occur by chance once in 16 MiB of compressed data."""
        self.fill(4096)
        try:
            head = zlib.decompressobj(31).decompress(self.buffer[:4096], 256)
        except zlib.error:
            return False
        return head.lstrip(b"\r\n").startswith(b"WARC/")


class Member(io.RawIOBase):
    """One gzip member's decompressed bytes; `broken` says why it ended early, if it did.

    `offset` is its place in the file, `given` the number of decompressed bytes that were read. It is a stream for
    fastwarc, which reads forwards.
    """

    def __init__(self, members: GzipMembers) -> None:
        self.members = members
        self.offset = members.position
        self.decoder = zlib.decompressobj(31)
        self.broken = ""
        self.given = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self.given

    def seek(self, offset: int, whence: int = 0) -> int:
        """fastwarc asks where it stands by seeking to it; anything else cannot be done."""
        target = offset + (self.given if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or target != self.given:
            raise io.UnsupportedOperation("a gzip member is read once, forwards")
        return target

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, by default 1 MiB; empty at the member's end, and where it is broken."""
        size = _CHUNK if size is None or size < 0 else size
        while not (self.decoder.eof or self.broken):
            if not self.members.fill(1):
                self.broken = "the file ends inside a record"
                break
            data = self.members.buffer
            try:
                out = self.decoder.decompress(data, size)
            except zlib.error as error:
                self.broken = f"damaged member: {error}"
                break
            # What zlib did not use stays in the buffer: after the end it is of the next member.
            left = self.decoder.unused_data if self.decoder.eof else self.decoder.unconsumed_tail
            self.members.drop(len(data) - len(left))
            if out:
                self.given += len(out)
                return out
        return b""

    def finish(self) -> None:
        """Read on to the member's end, or past the damage."""
        while self.read(_CHUNK):
            pass
        if self.broken:
            self.members.counts.damage(self.members.piece.rel, f"record at byte {self.offset:,}: {self.broken}")
            if self.members.position == self.offset:
                self.members.drop(1)  # nothing of it could be decoded: else the same member would be found again


def read_warc(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """RAW rows of a WARC's responses and resources, or DOCUMENT rows of a WET's conversions.

    A row's origin_offset is the byte of its record in the file, in a .gz that of its member. Where a member holds
    several records, their number in it tells their ids apart. Whether a file is gzipped is told by its first bytes.
    """
    kind: Kind = "document" if piece.format == "wet" else "raw"
    batcher = Batcher(piece.source, piece.rel, kind, columns.from_text(piece.carried))
    with open_file(piece.path) as handle:
        head = handle.read(3)
        handle.seek(piece.start)
        records = _gzip_records if head == _MAGIC else _plain_records
        for offset, ordinal, record, broken in records(handle, piece, counts):
            found = _row(record, broken, piece, counts)
            if found is None:
                continue
            row, size, verdict = found
            record_id = (record.record_id or "") + (f"#{ordinal}" if ordinal else "")
            place = {"doc_id": schema.doc_id(piece.rel, offset, record_id), "origin_offset": offset}
            yield from batcher.add(place | row, size, verdict)
    yield from batcher.rest()


# (offset in the file, number of the record in its member, the record, why its member is broken: "" where it is not)
Found = tuple[int, int, WarcRecord, Callable[[], str]]


def _gzip_records(handle: BinaryIO, piece: Slice, counts: ReadCounts) -> Iterator[Found]:
    """The records of the members that start in the slice."""
    for member in GzipMembers(handle, piece, counts):
        ordinal = 0
        try:
            for record in ArchiveIterator(member, parse_http=False, stream_detect=False):
                yield member.offset, ordinal, record, lambda m=member: m.broken  # type: ignore[misc]
                ordinal += 1
        except (OSError, KeyError, ValueError) as error:
            if not member.broken:
                counts.damage(piece.rel, f"no WARC record in the member at byte {member.offset:,}: {error}")
        if not ordinal and not member.broken:
            member.finish()


def _plain_records(handle: BinaryIO, piece: Slice, counts: ReadCounts) -> Iterator[Found]:
    """Records of an uncompressed or zstd file; after an error it goes on at the next version line."""
    if piece.start:  # a plain file cannot be cut: the slice that begins it reads it all
        return
    size = handle.seek(0, io.SEEK_END)
    base = 0
    while base < size:
        handle.seek(base)
        last = base
        try:
            for record in ArchiveIterator(handle, parse_http=False):
                last = record.stream_pos  # of the file, wherever reading began
                yield last, 0, record, lambda: ""
            return
        except (OSError, KeyError, ValueError) as error:
            after = _next_version_line(handle, last + 1)
            counts.damage(piece.rel, f"unreadable at or after byte {last:,}: {error}", (after or size) - last)
            if after is None:
                return
            base = after


def _next_version_line(handle: BinaryIO, start: int) -> int | None:
    """The first byte at or after `start` at which a line `WARC/1.0` or `WARC/1.1` begins after a line end, or None."""
    handle.seek(start)
    position, tail = start, b""
    while chunk := handle.read(_CHUNK):
        data = tail + chunk
        match = re.search(rb"\nWARC/1\.[01]\r\n", data)
        if match:
            return position - len(tail) + match.start() + 1
        # The line may lie across two chunks; it has 11 bytes with the line end before it.
        tail = data[-16:]
        position += len(chunk)
    return None


Made = tuple[dict[str, Any], int, Verdict | None]
"""A row, its bytes, and its verdict."""

_EMPTY = 1024  # bytes that a row without a body counts as


def _row(record: WarcRecord, broken: Callable[[], str], piece: Slice, counts: ReadCounts) -> Made | None:
    """The row of a record that is a document, else None, having counted it.

    A row of no use has a verdict and no payload or text: it is too large, cut short, not HTTP, of another status than
    200, or of a coding that cannot be undone.
    """
    wanted = (
        (WarcRecordType.conversion,) if piece.format == "wet" else (WarcRecordType.response, WarcRecordType.resource)
    )
    if record.record_type not in wanted:
        counts.other_records[str(record.record_type)] += 1
        return None
    headers = {name.lower(): value for name, value in record.headers.items()}
    row: dict[str, Any] = {
        "url": headers.get("warc-target-uri", "").strip("<> ") or None,
        "crawled_at": parse_time(headers.get("warc-date")),
    }
    declared = record.content_length
    if declared > MAX_RECORD:
        return row, _EMPTY, Verdict("read.too_large", float(declared), float(MAX_RECORD))
    record.freeze()
    # `freeze` reads the whole record, so that a member's damage is known here.
    if record.content_length < declared or broken():
        detail = broken() or "the record is cut short"
        return row, _EMPTY, Verdict("read.truncated", float(record.content_length), float(declared), detail)
    if piece.format == "wet":
        text = record.reader.read().decode("utf-8", "replace")
        return row | {"text": text}, declared, None
    more, size, verdict = _http_row(record)
    return row | more, size, verdict


def _http_row(record: WarcRecord) -> Made:
    """Payload, type and charset of an HTTP response; of a resource record, the block itself."""
    if not record.is_http:
        body = record.reader.read()
        kind = (record.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        return {"content_type": kind or None, "payload": body}, len(body), None
    try:
        record.parse_http(auto_decode="none")
        headers = record.http_headers
        body = record.reader.read()
        if "chunked" in (headers.get("Transfer-Encoding") or "").lower():
            body = dechunk(body)
        status = headers.status_code
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return {}, _EMPTY, Verdict("read.bad_http", 0.0, detail=str(error)[:200])
    row: dict[str, Any] = {"content_type": record.http_content_type, "charset": record.http_charset}
    if status is not None and status != 200:
        return row, _EMPTY, Verdict("read.http_status", float(status), 200.0)
    try:
        body = decode_content(body, headers.get("Content-Encoding") or "")
    except ValueError as error:
        return row, _EMPTY, Verdict("read.bad_encoding", float(len(body)), detail=str(error)[:200])
    except OverflowError:
        too_large = Verdict("read.too_large", float(len(body)), float(MAX_RECORD), "decoded body over the limit")
        return row, _EMPTY, too_large
    return row | {"payload": body}, len(body), None


def dechunk(body: bytes) -> bytes:
    """Undo chunked transfer coding. A body whose first line is no chunk size was decoded before it was archived and
    stays as it is; after a later line that is none, the rest is taken as it stands."""
    parts, at = [], 0
    while at < len(body):
        end = body.find(b"\n", at)
        size = body[at:end].partition(b";")[0].strip() if end >= 0 else b""
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            parts.append(body[at:])
            break
        length = int(size, 16)
        if length == 0:
            break
        parts.append(body[end + 1 : end + 1 + length])
        at = end + 1 + length
        at += 2 if body[at : at + 2] == b"\r\n" else 1
    return b"".join(parts)


def decode_content(body: bytes, encoding: str) -> bytes:
    """Undo Content-Encoding, outermost last, at most four codings.

    Raises OverflowError over MAX_RECORD decoded bytes and ValueError where the bytes are not what they claim.
    A body that does not start like its coding is taken as already decoded: servers and archives often do that.
    """
    codings = [c.strip().lower() for c in encoding.split(",") if c.strip()]
    for coding in reversed(codings[:4]):
        if coding in ("gzip", "x-gzip") and body.startswith(_MAGIC[:2]):
            body = _inflate(body, 31)
        elif coding == "deflate" and body:
            try:
                body = _inflate(body, 15)
            except ValueError:
                body = _inflate(body, -15)
        elif coding == "br" and body and body.lstrip()[:1] != b"<":
            body = _unbrotli(body)
        elif coding == "zstd" and body.startswith(b"\x28\xb5\x2f\xfd"):
            try:
                reader = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
                body = _capped(reader.read(MAX_RECORD + 1))
            except zstandard.ZstdError as error:
                raise ValueError(f"zstd: {error}") from None
    return body


def _capped(data: bytes) -> bytes:
    """The bytes; OverflowError where there are more than MAX_RECORD."""
    if len(data) > MAX_RECORD:
        raise OverflowError
    return data


def _inflate(body: bytes, wbits: int) -> bytes:
    """zlib, gzip or raw deflate (wbits 15, 31, -15) undone.

    ValueError where the bytes are none of it, OverflowError over MAX_RECORD decoded bytes.
    """
    out = []
    left = MAX_RECORD + 1
    while body and left > 0:  # a gzip body may be several members
        decoder = zlib.decompressobj(wbits)
        try:
            out.append(decoder.decompress(body, left))
        except zlib.error as error:
            raise ValueError(str(error)) from None
        left -= len(out[-1])
        body = decoder.unused_data
        if not decoder.eof or not body.startswith(_MAGIC[:2]):
            break
    return _capped(b"".join(out))


def _unbrotli(body: bytes) -> bytes:
    """Brotli undone; ValueError where the bytes are none, OverflowError over MAX_RECORD decoded bytes."""
    decoder = brotli.Decompressor()
    out, size = [], 0
    try:
        out.append(decoder.process(body, output_buffer_limit=MAX_RECORD + 1))
        size = len(out[0])
        while not decoder.is_finished() and not decoder.can_accept_more_data() and size <= MAX_RECORD:
            out.append(decoder.process(b"", output_buffer_limit=MAX_RECORD + 1))
            size += len(out[-1])
    except brotli.error as error:
        raise ValueError(f"brotli: {error}") from None
    return _capped(b"".join(out))
