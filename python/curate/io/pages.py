"""Saved pages: an HTML file, or the page of an MHTML archive, as one RAW row a file.

The address of a page is what it says of itself where a browser saved it, else its place: `wget -r` and its like put
`https://example.org/a/b.html` at `example.org/a/b.html` (the scheme is taken to be https where no folder names it),
else the canonical address in its head. It is null where none of them is there.
"""

import binascii
import itertools
import quopri
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from urllib.parse import quote

from curate import schema
from curate.io import columns
from curate.io.batches import Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import open_decompressed
from curate.io.inputs import Slice
from curate.io.textfiles import whole
from curate.io.times import parse_time

_LOOKED = 1 << 16  # bytes of a page that are searched for its address
_HEADERS = 1 << 16  # bytes of the headers of a part
_PARTS = 1000  # parts of an archive that are looked at; the page comes before its images
# Comments of browsers: Save as, of Internet Explorer and Chrome; SingleFile.
_SAVED_FROM = re.compile(rb"<!--\s*saved from url=\(\d{1,8}\)(\S{1,4000})\s", re.IGNORECASE)
_SINGLE_FILE = re.compile(rb"<!--\s*Page saved with SingleFile\s+url:\s*(\S{1,4000})\s+(?:saved date: ([^\n]{1,100}))?")
_CANONICAL = re.compile(rb"<link\s(?=[^>]{0,2000}\brel=[\"']?canonical\b)[^>]{0,2000}?\bhref=[\"']?([^\"'\s>]{1,4000})",
                        re.IGNORECASE)  # fmt: skip
_HOST = re.compile(r"(?:www\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}(?:[:+]\d{1,5})?", re.IGNORECASE)
_XHTML = re.compile(rb"\s*<\?xml")
_ZONE = re.compile(r"GMT([+-]\d{4})")


def read_pages(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """One RAW row. A file over `max_line` bytes is dropped as read.too_large, a damaged one as read.truncated."""
    batcher = Batcher(piece.source, piece.rel, "raw", columns.from_text(piece.carried))
    row: dict[str, Any] = {"origin_offset": 0, "doc_id": schema.doc_id(piece.rel, 0)}
    with open_decompressed(piece.path, piece.codec) as handle:
        data, verdict = whole(handle, piece, counts)
    if verdict is None:
        found = _of_mhtml(data) if piece.format == "mhtml" else _of_html(data, piece.rel)
        if found is None:
            verdict = Verdict("read.no_page", detail="the archive has no part of HTML")
        row |= found or {}
    yield from batcher.add(row, len(data) if verdict is None else 0, verdict)
    yield from batcher.rest()


def _of_html(data: bytes, rel: str) -> dict[str, Any]:
    """The columns of a saved page; `rel` is the name of its file."""
    head = data[:_LOOKED]
    row: dict[str, Any] = {
        "payload": data,
        "content_type": "application/xhtml+xml" if _XHTML.match(head) and b"xhtml" in head else "text/html",
    }
    single, saved = _SINGLE_FILE.search(head), _SAVED_FROM.search(head)
    canonical = _CANONICAL.search(head)
    if single or saved:
        row["url"] = _address((single or saved)[1])  # type: ignore[index]
        row["crawled_at"] = _time(single[2].decode("utf-8", "replace")) if single and single[2] else None
    else:
        row["url"] = address_of_place(rel) or (_address(canonical[1]) if canonical else None)
    return row


def _address(found: bytes) -> str | None:
    """An address as a page spells it; None where it is none of the web."""
    text = unescape(found.decode("utf-8", "replace"))
    return text if re.match(r"(?:https?|ftp)://", text, re.IGNORECASE) else None


def _time(text: str) -> Any:
    """The time as a browser writes it: `Thu Jan 01 2026 10:00:00 GMT+0100 (…)`; None for anything else."""
    found = re.match(r"\w{3} (\w{3}) (\d{2}) (\d{4}) (\d{2}:\d{2}:\d{2}) GMT([+-]\d{4})", text)
    if found is None:
        return parse_time(text)
    month, day, year, time, zone = found.groups()
    return _date(f"{day} {month} {year} {time} {zone}")


def _date(text: str) -> Any:
    """A time as mail has it; None where it is none."""
    try:
        return parse_time(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def address_of_place(rel: str) -> str | None:
    """The address that a mirrored page's place stands for: its first folder is a host, perhaps after its scheme."""
    parts = rel.split("/")
    scheme = parts.pop(0) if parts[0] in ("http", "https") else "https"
    if len(parts) < 2 or not _HOST.fullmatch(parts[0]):
        return None
    host, path = parts[0].replace("+", ":"), "/".join(parts[1:])
    path = re.sub(r"(^|/)index\.html?$", r"\1", path)
    return f"{scheme}://{host}/{quote(path, safe='/?&=%;:@+,!$()*~.-_')}"


# -- MHTML -----------------------------------------------------------------------------------------------------


def _of_mhtml(data: bytes) -> dict[str, Any] | None:
    """The columns of the page of an MHTML archive, its first part of HTML; None where there is none."""
    top, rest = _headers(data)
    part, body = _first_page(top, rest, depth=2)
    if part is None:
        return None
    row: dict[str, Any] = {"payload": body, "content_type": part.get_content_type()}
    charset = part.get_content_charset()
    if charset:
        row["charset"] = charset
    url = top.get("Snapshot-Content-Location") or part.get("Content-Location") or top.get("Content-Location") or ""
    row["url"] = _address(str(url).strip().encode("utf-8", "replace"))
    row["crawled_at"] = _date(str(top.get("Date", "")))
    return row


def _headers(data: bytes) -> tuple[Message, bytes]:
    """(headers, what follows the empty line after them) of a message or part."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    end = re.search(rb"\r?\n\r?\n", data[:_HEADERS])
    head = data[: end.start()] if end else data[:_HEADERS]
    return BytesHeaderParser().parsebytes(head), data[end.end() :] if end else b""


def _first_page(headers: Message, data: bytes, depth: int) -> tuple[Message | None, bytes]:
    """The headers and the decoded body of the first part of HTML; parts lie within parts at most `depth` deep."""
    kind = headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        return headers, _decoded(str(headers.get("Content-Transfer-Encoding", "")), data)
    boundary = headers.get_boundary()
    if kind.startswith("multipart/") and boundary and depth:
        mark = re.compile(
            rb"(?:^|\r?\n)--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(?:--)?[ \t]*(?:\r?\n|$)"
        )
        found = list(itertools.islice(mark.finditer(data), _PARTS))
        ends = [*(one.start() for one in found[1:]), len(data)]
        for begin, end in zip(found, ends, strict=False):
            inner, body = _headers(data[begin.end() : end])
            page, decoded = _first_page(inner, body, depth - 1)
            if page is not None:
                return page, decoded
    return None, b""


def _decoded(coding: str, body: bytes) -> bytes:
    """A body with its transfer encoding undone; what is not in it stays as it is."""
    coding = coding.strip().lower()
    try:
        if coding == "base64":
            return binascii.a2b_base64(body)
        return quopri.decodestring(body) if coding == "quoted-printable" else body
    except binascii.Error:
        return body
