"""Plain definitions that the kernels are held to: words, hashes of words and of n-grams, as the formats fix them."""

import re
import unicodedata

MASK = 2**64 - 1
K0, K1, K2, K3 = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7, 0xABC98388FB8FAC03
BASE = 0xD6E8FEB86659FD93

UNSPACED = re.compile(
    "CJK UNIFIED|CJK COMPATIBILITY IDEOGRAPH|IDEOGRAPHIC (ITERATION|NUMBER)|HIRAGANA|KATAKANA|HALFWIDTH KATAKANA"
    "|THAI|LAO|KHMER|MYANMAR"
)
# Characters that are what they are in every version of Unicode that CPython 3.11 and later have.
ALPHABET = (
    "aZ_09 .,'-\n\t\x1c\x00éÉßẞİıΣσςЖжאﬁ½²٣Ⅷ漢字々かなカーｶไทยกำລາວខ្មែរမြန်한글Kſ"
    "\u0301\u0903\u200b\u00ad\u2019\u00a0\u202f…●•😀🏽"
)


def lower(text: str) -> str:
    """The simple mapping: one character for one."""
    return "".join(c.lower()[0] for c in text)


def words(text: str) -> list[tuple[str, int, int]]:
    """(lower-cased word, start, end in bytes)."""
    found: list[tuple[str, int, int]] = []
    open_, place = False, 0
    for c in text:
        size = len(c.encode())
        if re.fullmatch(r"\w", lower(c)) is None:
            open_ = False
        else:
            alone = UNSPACED.match(unicodedata.name(c, "")) is not None
            if open_ and not alone:
                word, start, _ = found.pop()
                found.append((word + lower(c), start, place + size))
            else:
                found.append((lower(c), place, place + size))
            open_ = not alone
        place += size
    return found


def mix(a: int, b: int) -> int:
    product = a * b
    return (product ^ product >> 64) & MASK


def finish(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def stream(seed: int, count: int) -> list[int]:
    """The first numbers of splitmix64."""
    return [finish((seed + (i + 1) * K0) & MASK) for i in range(count)]


def hash_bytes(data: bytes) -> int:
    def halves(chunk: bytes) -> tuple[int, int]:
        return int.from_bytes(chunk[:8], "little"), int.from_bytes(chunk[8:], "little")

    state, last = 0, max(len(data) - 1, 0) // 16 * 16
    for i in range(0, last, 16):
        low, high = halves(data[i : i + 16])
        state = mix(low ^ K0 ^ state, high ^ K1)
    low, high = halves(data[last:].ljust(16, b"\0"))
    return mix(mix(low ^ K0 ^ state, high ^ K1) ^ K2, K3 ^ len(data))


def hash_ngrams(hashes: list[int], n: int) -> list[int]:
    grams = []
    for i in range(len(hashes) - n + 1):
        total = n * K2
        for place, word in enumerate(reversed(hashes[i : i + n])):
            total += word * pow(BASE, place, 2**64)
        grams.append(finish(total & MASK))
    return grams
