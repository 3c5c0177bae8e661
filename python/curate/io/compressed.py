"""Opening files, decompressed where their first bytes say so, in memory that does not follow what they expand to.

A 10 KB .zst may hold gigabytes. So no call decodes more than about 1 MiB at once. gzip, xz and bzip2 are asked for so
much. The zstd library decodes whatever it is fed as a whole, so it is fed one block at a time, which decodes to at most
128 KiB. The window of a zstd frame, the decoded bytes that later blocks refer to, is held whole: 8 MB as a rule, at
most 2 GiB where a file was written with --long=31; an xz dictionary likewise (64 MB at the most with its own presets).
A frame of lz4 has blocks of at most 4 MiB.

A member of a zip archive that holds WARCs (a .wacz) has a path as though the archive were a folder:
`crawl.wacz/archive/data.warc.gz`.
"""

import bz2
import codecs
import contextlib
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, cast

import zstandard

from curate.errors import DataError
from curate.io.remote import file_system, open_object

MAX_WINDOW = 1 << 31  # zstd --long=31, the longest window there is; and the most memory that xz may ask for
_PIECE = 1 << 20  # bytes that are decoded, or skipped, at once

Codec = Literal["", "gzip", "zstd", "xz", "bz2", "lz4"]
"""How a file is compressed; "" where it is not."""

MAGIC_BYTES = 6  # that tell a codec
# First bytes -> codec. A zstd file may begin with a skippable frame, which may hold a dictionary.
_MAGIC: tuple[tuple[re.Pattern[bytes], Codec], ...] = (
    (re.compile(rb"\x1f\x8b\x08"), "gzip"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"BZh[1-9]"), "bz2"),
    (re.compile(rb"\x04\x22\x4d\x18"), "lz4"),
)


class Damaged(DataError):
    """The rest of a compressed file cannot be decoded; what came before it was given."""


def is_local(path: str) -> bool:
    """Whether a path is that of a file of this machine, not a URL nor that of a member of an archive."""
    return "://" not in path and not archive_of(path)[1]


def codec_of(head: bytes) -> Codec:
    """How a file that begins with these bytes is compressed."""
    return next((codec for magic, codec in _MAGIC if magic.match(head)), "")


def open_file(path: str) -> BinaryIO:
    """The stored bytes of a local or remote file, or of a member of an archive. OSError where it cannot be opened."""
    archive, member = archive_of(path)
    if member:
        return _open_member(archive, member)
    if is_local(path):
        return open(path, "rb")
    fs, name = file_system(path)
    return open_object(fs, name, path)


def open_decompressed(path: str, codec: Codec | None = None) -> BinaryIO:
    """The file's bytes, decompressed; its first bytes tell how where `codec` does not. Reading may raise Damaged."""
    handle = open_file(path)
    if codec is None:
        codec = codec_of(handle.peek(MAGIC_BYTES) if isinstance(handle, io.BufferedReader) else b"")
    return handle if not codec else _Reader(_DECODERS[codec](handle))


def open_utf8(path: str, codec: Codec | None = None) -> BinaryIO:
    """As `open_decompressed`, with what begins with a byte order mark of UTF-16 as UTF-8. A mark of UTF-8 stays."""
    handle = open_decompressed(path, codec)
    begin = b""
    with contextlib.suppress(Damaged):  # which whoever reads will meet again
        begin = handle.peek(2)[:2] if isinstance(handle, io.BufferedReader) else b""
    return _Reader(_Utf16(handle)) if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else handle


def decoded_head(head: bytes, codec: Codec, limit: int) -> bytes:
    """At most about `limit` decoded bytes of a file that begins with `head`; fewer, or none, where that is too little
    to decode more."""
    if not codec:
        return head[:limit]
    parts, size = [], 0
    try:
        for part in _DECODERS[codec](cast(BinaryIO, io.BytesIO(head)), min(limit, _PIECE))._pieces():
            parts.append(part)
            size += len(part)
            if size >= limit:
                break
    except (Damaged, OSError):  # as a rule, since the file goes on
        pass
    return b"".join(parts)[:limit]


# -- members of archives ---------------------------------------------------------------------------------------


def archive_of(path: str) -> tuple[str, str]:
    """(archive, name in it) of a path that leads through a zip archive; (path, "") of any other."""
    found = re.search(r"\.wacz/", path, re.IGNORECASE)
    if found is None or not re.match("archive/", path[found.end() :]):
        return path, ""
    archive = path[: found.end() - 1]
    return (path, "") if "://" not in path and not _is_file(archive) else (archive, path[found.end() :])


def _is_file(path: str) -> bool:
    """Whether a path of this machine is a file, not a folder."""
    return os.path.isfile(path)


def warc_members(path: str) -> list[tuple[str, int, bool]]:
    """(name, bytes, whether it is stored as it is) of the WARCs in a zip archive, as WACZ has them below archive/.

    Raises DataError where it is no zip archive that can be read.
    """
    try:
        with open_file(path) as handle, zipfile.ZipFile(handle) as archive:
            return sorted(
                (info.filename, info.file_size, info.compress_type == zipfile.ZIP_STORED)
                for info in archive.infolist()
                if re.fullmatch(r"archive/[^\0]+\.w?arc(\.gz|\.zst)?", info.filename, re.IGNORECASE)
            )
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a readable zip archive: {error}") from None


def _open_member(path: str, member: str) -> BinaryIO:
    """A member of a zip archive, as a file that can be read and sought; OSError where it is not there.

    One that is stored as it is is a part of the archive; seeking in a compressed one decodes what lies before.
    """
    handle = open_file(path)
    try:
        archive = zipfile.ZipFile(handle)
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            return io.BufferedReader(_Member(handle, archive.open(member)), _PIECE)
        handle.seek(info.header_offset)
        head = handle.read(30)  # of its own header, which ends with the lengths of name and extra field
        start = info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        return io.BufferedReader(_Stored(handle, start, info.file_size), _PIECE)
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        handle.close()
        raise OSError(f"the archive has no readable member {member}: {error}") from None


class _Stored(io.RawIOBase):
    """Bytes [start, start + size) of a file."""

    def __init__(self, handle: BinaryIO, start: int, size: int) -> None:
        self.handle, self.start, self.size, self.at = handle, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.handle.seek(self.start + self.at)
        data = self.handle.read(max(0, min(len(buffer), self.size - self.at)))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def close(self) -> None:
        self.handle.close()
        super().close()


class _Member(_Stored):
    """A compressed member, which zipfile decodes."""

    def __init__(self, handle: BinaryIO, file: Any) -> None:
        super().__init__(handle, 0, 0)
        self.file = file

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.file.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise OSError(f"damaged member: {error}") from None
        buffer[: len(data)] = data
        return len(data)


# -- decoders --------------------------------------------------------------------------------------------------


class _Reader(io.BufferedReader):
    """A buffered decoder that can say how much of the stored file was of use."""

    raw: "_Decoder"

    def __init__(self, raw: "_Decoder") -> None:
        super().__init__(raw, _PIECE)

    def skipped(self, given: int, size: int) -> int:
        """About how many of the stored file's `size` bytes gave nothing, where `given` decoded bytes were of use.

        Compression is taken to be even: where 1 MB of stored bytes decoded to 4 MB, 3 MB of use come from 750 KB. At
        least 1, since it is asked only where something is damaged.
        """
        used = self.raw.consumed * given // max(1, self.raw.total)
        return max(1, size - used)


def skipped_bytes(handle: BinaryIO, given: int, size: int) -> int:
    """About how many of a file's `size` stored bytes gave nothing, where `given` bytes that `handle` gave were of
    use."""
    return handle.skipped(given, size) if isinstance(handle, _Reader) else size - given


class _Decoder(io.RawIOBase):
    """Decodes a file piece by piece; a piece is at most about 1 MiB.

    Subclasses yield the decoded pieces in `_pieces`, count in `consumed`, and raise Damaged, after which nothing more
    can be read.
    """

    def __init__(self, handle: BinaryIO, piece: int = _PIECE) -> None:
        """`piece` is the number of bytes that are read and decoded at once."""
        self.handle, self.piece = handle, piece
        self.consumed = 0  # stored bytes that `total` decoded bytes came from
        self.total = 0  # decoded bytes so far
        self._parts = self._pieces()
        self._piece = memoryview(b"")  # what is left of the piece decoded last
        self._failure: Damaged | None = None  # raised again by whoever reads on

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._piece:
            if self._failure:
                raise self._failure
            try:
                piece = next(self._parts, None)
            except Damaged as error:
                self._failure = error
                raise
            if piece is None:
                return 0
            self._piece = memoryview(piece)
            self.total += len(piece)
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def close(self) -> None:
        self.handle.close()
        super().close()

    def _pieces(self) -> Iterator[bytes]:
        """The decoded bytes of `handle`, in order."""
        raise NotImplementedError


class _Gzip(_Decoder):
    """The members of a gzip file one after the other; zeros after a member are padding."""

    def _pieces(self) -> Iterator[bytes]:
        data = self.handle.read(self.piece)
        while data:
            decoder = zlib.decompressobj(31)
            while not decoder.eof:
                data = data or self.handle.read(1 << 16)
                if not data:
                    raise Damaged("the file ends inside a gzip member")
                before = len(data)
                try:
                    piece = decoder.decompress(data, self.piece)
                except zlib.error as error:
                    raise Damaged(f"damaged gzip member: {error}") from None
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                self.consumed += before - len(data)
                if piece:
                    yield piece
            data = self._after_padding(data)

    def _after_padding(self, data: bytes) -> bytes:
        """The stored bytes from the next member on, empty at the end of the file; Damaged where it is none."""
        while True:
            rest = data.lstrip(b"\0")
            self.consumed += len(data) - len(rest)
            if rest:
                rest += self.handle.read(1) if len(rest) < 2 else b""
                if not rest.startswith(b"\x1f\x8b"):
                    raise Damaged("what follows a gzip member is not another one")
                return rest
            data = self.handle.read(1 << 16)
            if not data:
                return b""


class _Zstd(_Decoder):
    """The frames of a zstd file, fed to the library block by block: their sizes stand in their headers."""

    def _pieces(self) -> Iterator[bytes]:
        while head := self.handle.read(4):
            magic = int.from_bytes(head, "little")
            if magic & 0xFFFFFFF0 == 0x184D2A50:  # a skippable frame
                length = int.from_bytes(self._exactly(4), "little")
                self.consumed += 8 + length
                while length:
                    length -= len(self._exactly(min(length, _PIECE)))
                continue
            if magic != zstandard.MAGIC_NUMBER:
                raise Damaged("what stands here is no zstd frame" if self.consumed else "not a zstd file")
            yield from self._frame(head)

    def _frame(self, head: bytes) -> Iterator[bytes]:
        """The decoded bytes of the frame whose magic number is `head`, block by block.

        The layout is that of RFC 8878: a descriptor byte, whose bits say which header fields follow, then blocks. A
        block has a header of 3 bytes, little-endian: last block (1 bit), kind (2 bits), size (21 bits). A block of kind
        1 repeats one byte `size` times, so it has one stored byte.
        """
        head += self._exactly(1)
        fields = head[4]
        window, dictionary, content = not fields & 32, (0, 1, 2, 4)[fields & 3], (0, 2, 4, 8)[fields >> 6]
        data = head + self._exactly(window + dictionary + (content or int(not window)))
        decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        last = False
        while not last:
            header = self._exactly(3)
            bits = int.from_bytes(header, "little")
            last, kind, size = bool(bits & 1), bits >> 1 & 3, bits >> 3
            data += header + self._exactly(1 if kind == 1 else size)
            yield self._decode(decoder, data)
            data = b""
        if fields & 4:  # the checksum, after the rows that it is of
            yield self._decode(decoder, self._exactly(4))

    def _decode(self, decoder: Any, data: bytes) -> bytes:
        """Feed stored bytes to the library; Damaged where it refuses them."""
        try:
            piece: bytes = decoder.decompress(data)
        except zstandard.ZstdError as error:
            raise Damaged(f"damaged zstd frame: {error}") from None
        self.consumed += len(data)
        return piece

    def _exactly(self, n: int) -> bytes:
        """The next `n` stored bytes; Damaged where the file ends before."""
        data = self.handle.read(n)
        if len(data) < n:
            raise Damaged("the file ends inside a zstd frame")
        return data


class _Streams(_Decoder):
    """The streams of an xz or bzip2 file one after the other; zeros after a stream are padding."""

    def __init__(self, handle: BinaryIO, piece: int, make: Callable[[], Any], name: str) -> None:
        super().__init__(handle, piece)
        self.make, self.form = make, name

    def _pieces(self) -> Iterator[bytes]:
        data = self.handle.read(self.piece)
        while data:
            decoder = self.make()
            while not decoder.eof:
                if decoder.needs_input and not data:
                    data = self.handle.read(self.piece)
                    if not data:
                        raise Damaged(f"the file ends inside a stream of {self.form}")
                try:
                    piece = decoder.decompress(data, self.piece)
                except (OSError, lzma.LZMAError, ValueError) as error:
                    raise Damaged(f"damaged {self.form}: {error}") from None
                self.consumed += len(data)
                data = b""
                if piece:
                    yield piece
            self.consumed -= len(decoder.unused_data)
            data = decoder.unused_data.lstrip(b"\0") or self.handle.read(self.piece).lstrip(b"\0")


def _xz(handle: BinaryIO, piece: int = _PIECE) -> _Decoder:
    return _Streams(handle, piece, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW), "xz")


def _bz2(handle: BinaryIO, piece: int = _PIECE) -> _Decoder:
    return _Streams(handle, piece, bz2.BZ2Decompressor, "bzip2")


class _Lz4(_Decoder):
    """The frames of an lz4 file, decoded by Arrow."""

    def _pieces(self) -> Iterator[bytes]:
        import pyarrow as pa

        try:
            stream = pa.CompressedInputStream(pa.PythonFile(self.handle, "r"), "lz4")
            while piece := stream.read(self.piece):
                self.consumed = self.handle.tell()
                yield piece
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk or the network, not the content
            raise Damaged(f"damaged lz4: {error}") from None


class _Utf16(_Decoder):
    """Text that begins with a byte order mark of UTF-16, as UTF-8; what is no UTF-16 becomes U+FFFD."""

    def _pieces(self) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        while data := self.handle.read(self.piece):
            self.consumed += len(data)
            yield decoder.decode(data).encode("utf-8", "replace")
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")


_DECODERS: dict[Codec, Callable[..., _Decoder]] = {
    "gzip": _Gzip, "zstd": _Zstd, "xz": _xz, "bz2": _bz2, "lz4": _Lz4
}  # fmt: skip
