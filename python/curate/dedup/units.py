"""The lines, paragraphs or sentences of a batch of texts, with the hashes by which they are compared, all in Arrow.

Units are compared in lower case, with every digit as 0 and white space joined, so that "Page 3 of 9" is one line
wherever it stands. Of sentences three in a row are compared, as C4 does; the last two of a text begin no three.
"""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels

WINDOW = 3  # sentences that are compared together
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7], np.uint64)

Unit = Literal["line", "paragraph", "sentences"]


class Units(NamedTuple):
    """The units of all rows, one after the other; `starts[i]` is the first of row i, one more at the end.

    Row j of `hashes` is unit j (of sentences: the three that begin there); `valid` is false where it is too short.
    """

    texts: pa.Array  # large_string; they share the bytes of the column
    starts: np.ndarray
    bounds: np.ndarray  # unit j is the bytes bounds[j] to bounds[j + 1] of all rows one after the other
    hashes: np.ndarray
    valid: np.ndarray

    def rows(self) -> np.ndarray:
        """The row of each unit."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def units_of(column: pa.Array, unit: Unit, min_length: int) -> Units:
    """The units of a column of large_string, which add up to its texts; `min_length` in characters."""
    rows, ends = kernels.text_units(column, unit="sentence" if unit == "sentences" else unit)
    starts, bounds = rows.to_numpy(), ends.to_numpy()
    texts = _slices(column, bounds)
    if unit == "sentences":
        hashes, lengths = _windows(*_compared(texts), starts)
        return Units(texts, starts, bounds, hashes, lengths >= min_length)
    # A unit has no more characters than bytes, and comparing takes characters away: most units need no hash.
    hashes, valid = np.zeros(len(texts), np.uint64), np.diff(bounds) >= min_length
    hashes[valid], lengths = _compared(texts.filter(pa.array(valid)))
    valid[valid] = lengths >= min_length
    return Units(texts, starts, bounds, hashes, valid)


def _compared(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Hash and length in characters of the form in which each unit is compared."""
    normal = pc.replace_substring_regex(pc.utf8_lower(texts), r"\d", "0")
    normal = pc.utf8_trim_whitespace(pc.replace_substring_regex(normal, r"\s+", " "))
    lengths = pc.utf8_length(normal).to_numpy(zero_copy_only=False).astype(np.int64)
    return first_hashes(normal), lengths


def first_hashes(column: pa.Array) -> np.ndarray:
    """The first 64 bits of SHA-256 of every row."""
    digests = kernels.sha256(column)
    return np.frombuffer(digests.buffers()[1], "<u8", 4 * len(column))[::4].copy()


def _slices(column: pa.Array, bounds: np.ndarray) -> pa.Array:
    """The bytes between `bounds`, counted from the first row of the column, as texts that share its buffer."""
    if len(bounds) == 1:
        return pa.array([], pa.large_string())
    _, offsets, values = column.buffers()
    first = np.frombuffer(offsets, "<i8", 1, column.offset * 8)[0]
    return pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds + first), values)


def _windows(hashes: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash and length of the three sentences from each on; the last two of a text begin none: length 0."""
    n = len(hashes)
    total, size = np.zeros(n, np.uint64), np.zeros(n, np.int64)
    for place, factor in enumerate(_FACTORS):
        whole = max(0, n - WINDOW + 1)
        total[:whole] += hashes[place : place + whole] * factor
        size[:whole] += lengths[place : place + whole]
    for back in range(1, WINDOW):
        ends = starts[1:] - back
        size[ends[ends >= starts[:-1]]] = 0
    return total, size


def without(units: Units, cut: np.ndarray) -> pa.Array:
    """The texts without the units where `cut` is true."""
    left = units.texts.filter(pa.array(~cut))
    if len(left) == 0:
        return pa.array([""] * (len(units.starts) - 1), pa.large_string())
    _, offsets, values = left.buffers()
    places = np.concatenate([[0], np.cumsum(~cut)])[units.starts]  # the first unit left of each row
    ends = np.frombuffer(offsets, "<i8", len(left) + 1, left.offset * 8)[places]
    return pa.LargeStringArray.from_buffers(len(units.starts) - 1, pa.py_buffer(ends.copy()), values)
