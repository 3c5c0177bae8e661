"""What the WARC files of an earlier `curate fetch` hold, so that the same command continues and asks for nothing twice.

The files themselves are the record of what has been done: there is no list beside them that could say otherwise. They
are read once when a fetch begins, member by member and in bounded memory. A file in the making, with .part behind its
name, may end in the middle of a record after a kill; what is behind its last whole page is cut off before it goes on.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from curate.errors import ConfigError

SOFTWARE = "curate fetch"  # in the warcinfo record of every file
PART = ".part"  # how the names of files in the making end
HEAD_BYTES = 64 << 10  # of a record, enough for its header and the first line of its block
GZIP = 31  # zlib's word for a gzip member
_PIECE = 256 << 10


class Place(NamedTuple):
    """A record in a file, with what its header says of it."""

    path: Path
    start: int  # offset of its gzip member
    bytes: int  # of the member
    kind: str  # WARC-Type
    id: str
    info_id: str  # of the warcinfo record that it names: that of its file, unless it comes from another archive
    url: str
    date: str
    ip: str
    digest: str  # of the payload
    block_bytes: int
    status: int  # of HTTP; 0 where it has none


@dataclass
class Archive:
    """The files of a prefix in a folder, and the records in them but requests and warcinfo."""

    files: list[Path] = field(default_factory=list)  # complete ones, sorted
    part: Path | None = None  # the one in the making
    part_bytes: int = 0  # of it that are whole pages
    part_id: str = ""  # identity of its warcinfo record
    records: list[Place] = field(default_factory=list)
    info_ids: set[str] = field(default_factory=set)  # identities of all warcinfo records

    def pages(self) -> dict[str, Place]:
        """The last response of each URL that was asked for, without records taken from another archive."""
        ours = [place for place in self.records if place.kind == "response" and place.info_id in self.info_ids]
        return {place.url: place for place in ours}


def read_archive(out: Path, prefix: str) -> Archive:
    """The state of a folder, which need not exist; ConfigError where its files of that prefix cannot be continued."""
    name = re.compile(rf"{re.escape(prefix)}-\d+\.warc\.gz", re.ASCII)
    files = sorted(out.iterdir()) if out.is_dir() else []
    found = Archive(files=[path for path in files if name.fullmatch(path.name)])
    parts = [path for path in files if path.suffix == PART and name.fullmatch(path.stem)]
    if len(parts) > 1:
        raise ConfigError(
            f"{parts[1]}: a second unfinished file, where there can be one; give another folder or prefix"
        )
    for path in found.files:
        end = _add(found, path)
        if end != path.stat().st_size:
            raise ConfigError(f"{path}: damaged after byte {end:,}; remove it, and what it held is fetched again")
    for path in parts:
        found.part, found.part_bytes = path, _add(found, path)
    return found


def _add(found: Archive, path: Path) -> int:
    """Add the records of a file; the offset at which its last whole page ends."""
    end = 0
    for start, stop, record in members(path):
        place, fields = _place(path, start, stop, record)
        if start == 0 and f"software: {SOFTWARE}\r\n".encode() not in fields:
            raise ConfigError(f"{path}: was not written by `{SOFTWARE}`; give another folder or prefix")
        if start == 0:
            found.info_ids.add(place.id)
            found.part_id = place.id  # the unfinished file is the last that is read
        if place.kind == "request":
            continue  # a page is whole when its response is
        end = stop
        if place.kind != "warcinfo":
            found.records.append(place)
    return end


def _place(path: Path, start: int, stop: int, record: bytes) -> tuple[Place, bytes]:
    """The record whose first HEAD_BYTES are given, and the beginning of its block."""
    head, _, rest = record.partition(b"\r\n\r\n")
    fields = header(head)

    def value(name: str) -> str:
        return fields.get(name, "")

    status, length = rest[9:12] if rest.startswith(b"HTTP/") else b"", value("content-length")
    place = Place(
        path, start, stop - start,
        kind=value("warc-type"), id=value("warc-record-id"), info_id=value("warc-warcinfo-id"),
        url=value("warc-target-uri").strip("<>"), date=value("warc-date"), ip=value("warc-ip-address"),
        digest=value("warc-payload-digest"),
        block_bytes=int(length) if length.isdecimal() else 0,
        status=int(status) if status.isdigit() else 0,
    )  # fmt: skip
    return place, rest


def header(head: bytes) -> dict[str, str]:
    """The fields of a WARC header, names in lower case; the version line and lines without a colon are left out."""
    lines = head.decode("utf-8", "replace").split("\r\n")[1:]
    return {
        name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }


def members(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(offset, offset of the end, first HEAD_BYTES) of each gzip member, up to the first that is cut or damaged."""
    with path.open("rb") as file:
        start, data = 0, b""
        while True:
            member, first, more = zlib.decompressobj(GZIP), bytearray(), True
            while not member.eof:
                if not data and more:
                    data = file.read(_PIECE)
                    if not data:
                        return
                try:
                    out = member.decompress(data, _PIECE)
                except zlib.error:
                    return
                data = member.unconsumed_tail
                more = len(out) < _PIECE  # otherwise zlib may hold more of what it was given
                first += out[: HEAD_BYTES - len(first)]
            data = member.unused_data
            yield start, (start := file.tell() - len(data)), bytes(first)


def block(place: Place) -> bytes:
    """The block of a record."""
    with place.path.open("rb") as file:
        file.seek(place.start)
        member = file.read(place.bytes)
    record = zlib.decompressobj(GZIP).decompress(member, HEAD_BYTES + place.block_bytes)
    start = record.index(b"\r\n\r\n") + 4
    return record[start : start + place.block_bytes]
