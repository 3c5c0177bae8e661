"""Opening files, decompressed where their name says so, in memory that does not follow what they expand to.

A 10 KB .zst may hold gigabytes. So no call decodes more than about 1 MiB at once. gzip is asked for so much. The zstd
library decodes whatever it is fed as a whole, so it is fed one block at a time, which decodes to at most 128 KiB. The
window of a zstd frame, the decoded bytes that later blocks refer to, is held whole: 8 MB as a rule, at most 2 GiB where
a file was written with --long=31.
"""

import io
import os
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import zstandard

from curate.errors import DataError
from curate.io.remote import file_system, open_object

MAX_WINDOW = 1 << 31  # zstd --long=31, the longest window there is
_PIECE = 1 << 20  # bytes that are decoded, or skipped, at once


class Damaged(DataError):
    """The rest of a compressed file cannot be decoded; what came before it was given."""


def is_local(path: str) -> bool:
    """Whether a path is one of this machine, not a URL."""
    return "://" not in path


def open_file(path: str) -> BinaryIO:
    """The stored bytes of a local or remote file. Raises OSError where it cannot be opened."""
    if is_local(path):
        return open(path, "rb")
    fs, name = file_system(path)
    return open_object(fs, name, path)


def open_decompressed(path: str) -> BinaryIO:
    """The file's bytes, decompressed where its name ends in .gz or .zst. Reading may raise Damaged."""
    handle = open_file(path)
    form = {".gz": _Gzip, ".zst": _Zstd}.get(os.path.splitext(path.lower())[1])
    return handle if form is None else _Reader(form(handle))


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

    def __init__(self, handle: BinaryIO) -> None:
        self.handle = handle
        self.consumed = 0  # stored bytes that `total` decoded bytes came from
        self.total = 0  # decoded bytes so far
        self._parts = self._pieces()
        self._piece = memoryview(b"")  # what is left of the piece decoded last

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._piece:
            piece = next(self._parts, None)
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
        data = self.handle.read(_PIECE)
        while data:
            decoder = zlib.decompressobj(31)
            while not decoder.eof:
                data = data or self.handle.read(1 << 16)
                if not data:
                    raise Damaged("the file ends inside a gzip member")
                before = len(data)
                try:
                    piece = decoder.decompress(data, _PIECE)
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
