"""Writes src/unicode14.bin: what CPython says about every code point, frozen at one Unicode version.

Word hashes are a file format, so the classes and the lower-casing behind them may not move with the
interpreter or the compiler. Run it with CPython 3.11 (Unicode 14.0): python rust/text/unicode/generate.py

Layout, little-endian: u32 blocks, u32 pairs; 8,704 bytes of block numbers (code point >> 7); the blocks of 128
class bytes; the pairs (u32 code point, u32 its simple lower-case mapping), sorted.
"""

import struct
import unicodedata
from pathlib import Path

WORD, ALPHA, SPACE, UNSPACED, CASED, UPPER, MARK = 1, 2, 4, 8, 16, 32, 64

# Scripts written without spaces, by the names that Unicode gives to their characters.
SCRIPTS = (
    "CJK UNIFIED",
    "CJK COMPATIBILITY IDEOGRAPH",
    "CJK RADICAL",
    "KANGXI RADICAL",
    "HANGZHOU NUMERAL",
    "IDEOGRAPHIC ITERATION MARK",
    "IDEOGRAPHIC NUMBER ZERO",
    "VERTICAL IDEOGRAPHIC ITERATION MARK",
    "HIRAGANA",
    "HENTAIGANA",
    "KATAKANA",
    "HALFWIDTH KATAKANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
)


def lower(char: str) -> str:
    """The simple mapping: one code point for one. Only U+0130 has a longer full one, whose first is the simple one."""
    return char.lower()[0]


def classes(char: str) -> int:
    flags = 0
    if char.isalnum() or char == "_":
        flags |= WORD
    if char.isalpha():
        flags |= ALPHA
    if char.isspace():
        flags |= SPACE
    if unicodedata.name(char, "").startswith(SCRIPTS):
        flags |= UNSPACED
    if lower(char) != char:
        flags |= CASED
    if char.isupper():
        flags |= UPPER
    if unicodedata.category(char).startswith("M"):
        flags |= MARK
    return flags


def main() -> None:
    assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version
    table = bytes(classes(chr(code)) for code in range(0x110000))
    assert all(len(chr(code).lower()) == 1 for code in range(0x110000) if code != 0x130)
    pairs = [(code, ord(lower(chr(code)))) for code in range(0x110000) if table[code] & CASED]
    # Lower-casing neither makes nor breaks a word, so spans can be taken from the text as it stands.
    assert all((table[a] ^ table[b]) & (WORD | UNSPACED) == 0 for a, b in pairs)

    blocks: dict[bytes, int] = {}
    index = bytes(blocks.setdefault(table[i : i + 128], len(blocks)) for i in range(0, len(table), 128))
    assert len(blocks) <= 256, len(blocks)
    out = struct.pack("<II", len(blocks), len(pairs)) + index + b"".join(blocks)
    out += b"".join(struct.pack("<II", *pair) for pair in pairs)
    path = Path(__file__).parent.parent / "src" / "unicode14.bin"
    path.write_bytes(out)
    print(f"{path.name}: {len(blocks)} blocks, {len(pairs)} pairs, {len(out):,} bytes")


if __name__ == "__main__":
    main()
