"""Tar archives of samples, as WebDataset has them: members that are called alike up to the first dot are one sample.

    000001.txt  000001.json  000001.jpg  000002.txt …

A sample is a document: `.txt` is its text, the keys of `.json` are columns as those of JSON lines (its `text` counts
where there is no `.txt`). Where the first members are `.html`, samples are pages, with their address in `.url` or
`.json`. Other members are counted by their suffix as no documents. The archive is read once, forwards; it may be
compressed, and holds members of any size, of which those over `max_line` bytes are dropped as read.too_large.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from curate import schema
from curate.io import columns
from curate.io.batches import Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import Damaged, open_decompressed, skipped_bytes
from curate.io.forms import TAR_BLOCK, TAR_PAGES
from curate.io.inputs import Slice
from curate.io.jsonl import RowMaker, useless
from curate.io.pages import address_of_place

_PIECE = 1 << 20  # bytes that are skipped at once
_NAME = 1 << 16  # bytes of a long name, or of the headers that give one
_READ = (".txt", ".text", ".json", ".url", *TAR_PAGES)


class _Member(NamedTuple):
    """A regular file of the archive."""

    key: str  # its name up to the first dot of its last part
    suffix: str  # from its last dot on, lower case
    offset: int  # of its content in the decompressed archive
    size: int
    data: bytes  # none where it is too large, or of a suffix that is not read


def read_tar(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """DOCUMENT rows of samples with a text, or RAW rows of those with a page.

    A row's origin_offset is the byte at which the content of its first member starts in the decompressed archive; its
    doc_id follows from it.
    """
    maker = RowMaker(piece, counts)
    batcher = Batcher(piece.source, piece.rel, piece.kind, maker.carried)
    with open_decompressed(piece.path, piece.codec) as handle:
        reader = _Members(handle, piece.max_line)
        sample: list[_Member] = []
        try:
            for member in reader:
                if sample and sample[0].key != member.key:
                    yield from _sample(sample, piece, maker, batcher)
                    sample = []
                if member.suffix in _READ:
                    sample.append(member)
                else:
                    counts.other_records[f"tar member {member.suffix or 'without a suffix'}"[:40]] += 1
        except Damaged as error:
            skipped = skipped_bytes(handle, reader.position, piece.size)
            counts.damage(piece.rel, f"damaged after {reader.position:,} decompressed bytes: {error}", skipped)
        yield from _sample(sample, piece, maker, batcher)
        yield from batcher.rest()


class _Members:
    """The regular files of a tar archive, of which no more than `limit` bytes are held.

    The format is that of POSIX (ustar and pax) with GNU's long names: blocks of 512 bytes, a header, then the content.
    """

    def __init__(self, handle: BinaryIO, limit: int) -> None:
        self.handle, self.limit, self.position = handle, limit, 0

    def __iter__(self) -> Iterator[_Member]:
        """Each file; Damaged where the archive ends early or a header is none."""
        name, size = "", -1  # from a header before the file's own
        ended = False
        while block := self.take(TAR_BLOCK):
            ended = not block.strip(b"\0")
            if ended:  # archives may be put one after the other
                continue
            kind, length = block[156:157], _number(block[124:136])
            if length is None or _number(block[148:156]) != sum(block[:148]) + 256 + sum(block[156:]):
                raise Damaged("what stands here is no header of a member")
            if kind in (b"L", b"x"):
                more = self.take(length) if length <= _NAME else self.skip(length)
                self.skip(-length % TAR_BLOCK)
                name, size = (more.rstrip(b"\0").decode("utf-8", "replace"), size) if kind == b"L" else _pax(more, name)
                continue
            length = size if size >= 0 else length
            if kind in (b"0", b"\0", b"7"):
                full = name or _header_name(block)
                folder, slash, base = full.rpartition("/")
                stem, _, suffix = base.partition(".")
                last = f".{suffix.rpartition('.')[2].lower()}" if suffix else ""
                offset = self.position
                wanted = last in _READ and length <= self.limit
                data = self.take(length) if wanted else self.skip(length)
                self.skip(-length % TAR_BLOCK)
                yield _Member(folder + slash + stem, last, offset, length, data)
            else:
                self.skip(length + -length % TAR_BLOCK if kind not in b"123456" else 0)
            if kind != b"g":
                name, size = "", -1
        if not ended:
            raise Damaged("the archive lacks its end")

    def take(self, n: int) -> bytes:
        """The next `n` bytes; none at the end of the archive, Damaged where it ends among them."""
        data = self.handle.read(n)
        self.position += len(data)
        if data and len(data) < n:
            raise Damaged("the archive ends inside a member")
        return data

    def skip(self, n: int) -> bytes:
        """Pass over `n` bytes; gives none."""
        while n > 0:
            data = self.handle.read(min(n, _PIECE))
            if not data:
                raise Damaged("the archive ends inside a member")
            self.position += len(data)
            n -= len(data)
        return b""


def _number(field: bytes) -> int | None:
    """A number of a header: octal digits, or binary where the first bit is set; None where it is neither."""
    if field[:1] >= b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    return int(digits or b"0", 8) if re.fullmatch(rb"[0-7]*", digits) else None


def _header_name(block: bytes) -> str:
    """The name in a header, with what ustar keeps of long ones apart."""
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    whole = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
    return whole.decode("utf-8", "replace")


def _pax(data: bytes, name: str) -> tuple[str, int]:
    """(name, size) that the extended header of a file gives; `name` and -1 where it gives none."""
    path = re.search(rb"(?:^|\n)\d+ path=([^\n]*)\n", data)
    size = re.search(rb"(?:^|\n)\d+ size=(\d{1,18})\n", data)
    return path[1].decode("utf-8", "replace") if path else name, int(size[1]) if size else -1


def _sample(sample: list[_Member], piece: Slice, maker: RowMaker, batcher: Batcher) -> Iterator[Rows]:
    """The row of a sample."""
    if not sample:
        return
    place = {"origin_offset": sample[0].offset, "doc_id": schema.doc_id(piece.rel, sample[0].offset)}
    size = sum(len(member.data) for member in sample)
    large = next((member for member in sample if member.size > piece.max_line), None)
    of = {member.suffix: member.data for member in sample}
    row: dict[str, Any]
    verdict: Verdict | None
    if large:
        row, verdict = {}, Verdict("read.too_large", float(large.size), float(piece.max_line), large.suffix)
    elif piece.kind == "raw":
        row, verdict = _page(sample[0].key, of)
    else:
        row, verdict = _document(maker, sample[0].key, of, sample[0].offset)
    yield from batcher.add(place | row, size, verdict)


def _document(maker: RowMaker, key: str, of: dict[str, bytes], offset: int) -> tuple[dict[str, Any], Verdict | None]:
    """A sample's columns: the keys of its JSON, and its text."""
    text = of.get(".txt", of.get(".text"))
    value = maker.parsed(of[".json"]) if ".json" in of else {}
    if isinstance(value, Verdict):
        return useless(of[".json"]), value
    if ".url" in of:
        value.setdefault("url", of[".url"].decode("utf-8", "replace").strip())
    if text is not None:
        name = maker.piece.columns.get("text", "text")
        if name in value:
            columns.put(value, f"{name}_", value.pop(name))
        value[name] = text.decode("utf-8-sig", "replace")
    if not any(alias in value for alias in ("id", "doc_id", "source_id")):
        value["id"] = key
    row, verdict = maker.of_object(value, text or of.get(".json", b""), offset)
    return row, verdict


def _page(key: str, of: dict[str, bytes]) -> tuple[dict[str, Any], Verdict | None]:
    """A sample's page, with the address that lies beside it or that its place stands for."""
    page = next((of[suffix] for suffix in TAR_PAGES if suffix in of), None)
    if page is None:
        return {}, Verdict("read.no_page", detail="the sample has no .html")
    url = of.get(".url", b"").decode("utf-8", "replace").strip() or address_of_place(f"{key}.html")
    return {"payload": page, "content_type": "text/html", "url": url, "source_id": columns.valid_text(key)[0]}, None
