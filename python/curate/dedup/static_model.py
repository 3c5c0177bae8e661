"""A static embedding model from a folder: a vector for each token, and a text is the mean of its tokens' vectors.

    model2vec              model.safetensors with `embeddings` [rows, dim], and perhaps `weights` and `mapping`, a
                           weight and a row for each token; unknown tokens do not count
    sentence-transformers  model.safetensors with `embedding.weight`, in the folder or in its 0_StaticEmbedding

Either has a tokenizer.json beside it, read by the `tokenizers` package. Nothing is downloaded. Transformers are
refused: the last bits of what they compute differ from processor to processor, and with them which documents stay.

Vectors come out the same everywhere: the table is rounded to whole numbers, which are added up exactly.
"""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
NESTED = "0_StaticEmbedding"
TABLES = ("embeddings", "embedding.weight")  # of model2vec, of sentence-transformers
BITS = 20  # of the largest value of the table, and of the sums that are squared
CHUNK = 4096  # rows of the table that are rounded at once
LETTERS_A_TOKEN = 16  # of a text so much is tokenized for each token that is asked for


class StaticModel(NamedTuple):
    """table: int32 [tokens, dim]. unknown: the token that does not count, -1 for none."""

    tokenizer: Any
    table: npt.NDArray[np.int32]
    unknown: int

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return int(self.table.shape[1])

    def vectors(self, texts: pa.Array, tokens: int, length: int) -> npt.NDArray[np.int16]:
        """int16 [texts, dim], of length `length`: the mean of the first `tokens` tokens; zeros where there are none."""
        sums = np.zeros((len(texts), self.dim), np.int64)
        for row, text in enumerate(texts.to_pylist()):
            found = self.tokenizer.encode(text[: tokens * LETTERS_A_TOKEN], add_special_tokens=False)
            ids = np.array(found.ids[:tokens], np.int64)
            sums[row] = self.table[ids[ids != self.unknown]].sum(axis=0, dtype=np.int64)
        return directions(sums, length)


def directions(sums: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int16]:
    """Rows brought to a length, rounded. All sums are of whole numbers, and the root is rounded as IEEE 754 says."""
    bits = np.frexp(np.abs(sums).max(axis=1, initial=0).astype(np.float64))[1]
    sums = sums >> np.maximum(bits - BITS, 0)[:, None]
    roots = np.sqrt(np.square(sums).sum(axis=1).astype(np.float64))
    found: npt.NDArray[np.int16] = np.rint(sums * (length / np.maximum(roots, 1.0))[:, None]).astype(np.int16)
    return found


def files_of(path: str) -> list[str]:
    """The files of the weights and the tokenizer. ConfigError where the folder has none."""
    folder = Path(path).expanduser()
    places = [place for place in (folder, folder / NESTED) if (place / WEIGHTS).is_file()]
    if not places:
        raise ConfigError(
            f"semantic_dedup.model: {path}: expected a folder with {WEIGHTS} and {TOKENIZER}, as model2vec and "
            "sentence-transformers' StaticEmbedding are saved"
        )
    tokenizers = [place / TOKENIZER for place in (places[0], folder) if (place / TOKENIZER).is_file()]
    if not tokenizers:
        raise ConfigError(f"semantic_dedup.model: {path}: there is no {TOKENIZER} beside {WEIGHTS}")
    return [str(places[0] / WEIGHTS), str(tokenizers[0])]


def shape_of(path: str) -> tuple[int, int]:
    """(tokens, dim) of the model of a folder, without reading its table."""
    weights = files_of(path)[0]
    with _weights(weights) as tensors:
        name = _table_name(list(tensors.keys()), weights)
        rows, dim = tensors.get_slice(name).get_shape()
        tokens = tensors.get_slice("mapping").get_shape()[0] if "mapping" in tensors.keys() else rows  # noqa: SIM118
    return int(tokens), int(dim)


def _package(name: str) -> Any:
    """A package of the extra `embed`, or a ConfigError that names the extra."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"semantic_dedup.model needs the `{name}` package; install it with: pip install 'curate-train[embed]'"
        ) from None


def _weights(path: str) -> Any:
    """The tensors of a file, opened. ConfigError where it is none."""
    safetensors = _package("safetensors")
    try:
        return safetensors.safe_open(path, framework="np")
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"semantic_dedup.model: {path}: not a file of tensors: {error}") from None


def _table_name(names: Sequence[str], path: str) -> str:
    """The tensor that is the table. ConfigError where there is none."""
    found = next((name for name in TABLES if name in names), None)
    if found is None:
        raise ConfigError(
            f"semantic_dedup.model: {path}: no static model: expected a tensor `embeddings` or `embedding.weight`, "
            f"found {', '.join(sorted(names)[:3])}; model2vec distills a static model from a transformer"
        )
    return found


@lru_cache(maxsize=1)
def open_static(weights: str, tokenizer: str) -> StaticModel:
    """The model of these files. ConfigError, which names the file, where they do not fit each other."""
    with _weights(weights) as tensors:
        names = list(tensors.keys())
        name = _table_name(names, weights)
        try:
            rows = tensors.get_tensor(name)
            factors = tensors.get_tensor("weights").astype(np.float64) if "weights" in names else None
            mapping = tensors.get_tensor("mapping").astype(np.int64) if "mapping" in names else None
        except (TypeError, AttributeError):  # a type that numpy does not have, such as bfloat16
            raise ConfigError(f"semantic_dedup.model: {weights}: tensors must be of float32, float16 or int8") from None
    opened = _tokenizer(tokenizer)
    table = rounded(rows, factors, mapping, weights)
    if opened.get_vocab_size(with_added_tokens=True) > len(table):
        raise ConfigError(
            f"semantic_dedup.model: {tokenizer} has {opened.get_vocab_size(with_added_tokens=True):,} tokens, and "
            f"{weights} has vectors for {len(table):,}"
        )
    unknown = getattr(opened.model, "unk_token", None) if name == TABLES[0] else None
    return StaticModel(opened, table, -1 if unknown is None else opened.token_to_id(unknown))


def _tokenizer(path: str) -> Any:
    """The tokenizer of a file, which neither pads nor cuts; it works on one thread, text by text."""
    tokenizers = _package("tokenizers")
    try:
        opened = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the package raises Exception itself
        raise ConfigError(f"semantic_dedup.model: {path}: not a tokenizer: {error}") from None
    opened.encode_special_tokens = True  # names of special tokens in a text are text
    opened.no_padding()
    opened.no_truncation()
    return opened


def rounded(
    rows: npt.NDArray[Any],
    factors: npt.NDArray[np.float64] | None,
    mapping: npt.NDArray[np.int64] | None,
    path: str,
) -> npt.NDArray[np.int32]:
    """int32 [tokens, dim]: factor * row of each token, scaled so that the largest value has BITS bits."""
    tokens = len(rows) if mapping is None else len(mapping)
    if rows.ndim != 2 or not rows.size or (factors is not None and factors.shape != (tokens,)):
        raise ConfigError(f"semantic_dedup.model: {path}: its tensors do not fit each other")
    if mapping is not None and not (mapping.min(initial=0) >= 0 and mapping.max(initial=0) < len(rows)):
        raise ConfigError(f"semantic_dedup.model: {path}: `mapping` names rows that there are not")

    def part(start: int) -> npt.NDArray[np.float64]:
        chosen = slice(start, start + CHUNK)
        values = np.asarray(rows[chosen] if mapping is None else rows[mapping[chosen]], np.float64)
        return values if factors is None else values * factors[chosen, None]

    most = max(float(np.abs(part(start)).max()) for start in range(0, tokens, CHUNK))
    if not 0 < most < np.inf:
        raise ConfigError(f"semantic_dedup.model: {path}: its largest value is {most:g}")
    table = np.empty((tokens, rows.shape[1]), np.int32)
    for start in range(0, tokens, CHUNK):
        table[start : start + CHUNK] = np.rint(part(start) * ((1 << BITS) / most))
    return table
