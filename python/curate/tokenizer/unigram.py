"""Unigram models, trained and applied by the `tokenizers` package, which is an extra of this one.

A Unigram model gives every piece a log probability and splits a text where the product is largest (Kudo 2018,
arXiv:1804.10959). Ours is one of bytes, with the same patterns, file and report as BPE, so no text is unknown and
decoding gives every text back. The library encodes 1 to 2 MB/s, a hundredth of what the encoder of BPE does.

The library adds floating-point numbers in the order of a hash table that differs from process to process. Scores
are rounded to 4 decimals for that reason, bytes that never occur get one score in place of numbered ones, and
equal scores are ordered by name: the same counts give the same file.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import pyarrow as pa

from curate.errors import ConfigError
from curate.tokenizer.files import layout, name_of_bytes

MISSING = "a Unigram model needs the `tokenizers` package; install it with: pip install 'curate-train[unigram]'"

# The library takes pieces one occurrence at a time, 0.7 µs each; counts that sum to more are scaled down.
MAX_OCCURRENCES = 30_000_000
# Longer pieces are left out: they are no words, and the library's sum of exponentials over them overflows.
MAX_PIECE_BYTES = 4096
# The library gives bytes that never occur the lowest score plus 0 to 256 times this, in an order that varies.
_UNSEEN = 1e-4
_DECIMALS = 4


def library() -> Any:
    """The package, or a ConfigError that names the extra."""
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(MISSING) from None
    return tokenizers


def train_unigram(
    pretokens: pa.Array,
    counts: pa.Array,
    *,
    vocab_size: int,
    special_tokens: Sequence[str],
    max_token_length: int | None,
    expression: str,
) -> tuple[bytes, int, list[str]]:
    """(tokenizer.json, tokens made, notes) from distinct pieces (binary) and their counts (int64).

    `max_token_length` is in bytes, 16 by default as in the library. The vocabulary is the special tokens, then the
    256 bytes and the pieces that the library finds, the most probable first. ConfigError where vocab_size cannot
    hold the bytes and the special tokens, or where the library finds no model.
    """
    tokenizers = library()
    minimum = len(special_tokens) + 256
    if vocab_size < minimum:
        raise ConfigError(
            f"train_tokenizer: vocab_size {vocab_size} is too small: {len(special_tokens)} special tokens and "
            f"256 bytes need at least {minimum}"
        )
    notes: list[str] = []
    words, times = _occurrences(pretokens, counts, notes)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram())
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=vocab_size - len(special_tokens),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        max_piece_length=max_token_length or 16,
        show_progress=False,
    )
    try:
        tokenizer.train_from_iterator(chain.from_iterable(map(repeat, words, times)), trainer)
    except BaseException as error:
        # A panic of the library is no Exception; an interruption is not its failure.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ConfigError(f"train_tokenizer: the `tokenizers` library finds no Unigram model: {error}") from None
    scores = _settled(json.loads(tokenizer.to_str())["model"]["vocab"], set(special_tokens))
    vocab = [*([token, 0.0] for token in special_tokens), *scores]
    model = {"type": "Unigram", "unk_id": None, "vocab": vocab, "byte_fallback": False}
    return layout(model, expression, special_tokens), len(vocab), notes


def _occurrences(pretokens: pa.Array, counts: pa.Array, notes: list[str]) -> tuple[list[str], list[int]]:
    """Pieces in the characters of files and how often the library is given each; what is changed is noted."""
    words: list[str] = []
    times: list[int] = []
    too_long = 0
    total = sum(counts.to_pylist())
    for piece, count in zip(pretokens, counts.to_pylist(), strict=True):
        if len(piece.as_py()) > MAX_PIECE_BYTES:
            too_long += 1
        else:
            # Scaled counts are rounded to the nearest; what rounds to 0 is left out.
            words.append(name_of_bytes(piece.as_py()))
            times.append(count if total <= MAX_OCCURRENCES else (2 * count * MAX_OCCURRENCES + total) // (2 * total))
    if too_long:
        notes.append(f"train_tokenizer: {too_long:,} pieces longer than {MAX_PIECE_BYTES:,} bytes were left out")
    if total > MAX_OCCURRENCES:
        kept = sum(time > 0 for time in times)
        notes.append(
            f"train_tokenizer: counts were scaled from {total:,} to {MAX_OCCURRENCES:,} occurrences, the most that the "
            f"library is given; {kept:,} of {len(times):,} distinct pieces remain"
        )
    return words, times


def _settled(vocab: list[tuple[str, float]], special_tokens: set[str]) -> list[list[Any]]:
    """[name, score] by falling score, in a form that does not depend on the order of the library's sums."""
    floor = min(score for _, score in vocab)
    settled = []
    for name, score in vocab:
        unseen = len(name) == 1 and score < floor + 257 * _UNSEEN
        if name not in special_tokens:  # text never becomes one
            settled.append([name, round(floor if unseen else score, _DECIMALS)])
    return sorted(settled, key=lambda entry: (-entry[1], entry[0]))


class LibraryEncoder:
    """Adapter: a Tokenizer of the library as an Encoder (model.py). Make it once a worker; it encodes on one thread."""

    def __init__(self, content: bytes, vocab: pa.Array) -> None:
        """`content` is a tokenizer.json with byte level, `vocab` (large_binary) holds the bytes of its tokens by id."""
        self._tokenizer = library().Tokenizer.from_str(content.decode())
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._vocab = vocab.to_pylist()
        self.vocab_size = len(vocab)

    def encode(self, text: pa.Array, *, end_of_document: int | None = None) -> pa.Array:
        """Token ids of every row: large_list<uint16> for a vocabulary of at most 65,536 tokens, else of uint32.

        Special tokens in the text are text. `end_of_document` is appended to every row. ValueError names a row that
        is null or not text.
        """
        if end_of_document is not None and end_of_document >= self.vocab_size:
            raise ValueError(f"end_of_document {end_of_document} is outside the vocabulary of {self.vocab_size} tokens")
        end = [] if end_of_document is None else [end_of_document]
        rows = [self._ids(row, value.as_py()) + end for row, value in enumerate(text)]
        kind = pa.uint16() if self.vocab_size <= 1 << 16 else pa.uint32()
        return pa.array(rows, pa.large_list(kind))

    def encode_lists(self, texts: Sequence[str], *, end_of_document: int | None = None) -> list[list[int]]:
        """As encode, from texts to lists."""
        encoded = self.encode(pa.array(texts, pa.large_string()), end_of_document=end_of_document)
        ids: list[list[int]] = encoded.to_pylist()
        return ids

    def _ids(self, row: int, value: Any) -> list[int]:
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"row {row}: invalid UTF-8 at byte {error.start}") from None
        if value is None:
            raise ValueError(f"row {row}: is null; text is expected")
        ids: list[int] = self._tokenizer.encode(value, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: pa.Array) -> pa.Array:
        """The bytes of every row of ids: large_binary. ValueError names an id outside the vocabulary, row and place."""
        rows = pa.array(tokens).to_pylist()
        return pa.array([b"".join(self._bytes(row, ids)) for row, ids in enumerate(rows)], pa.large_binary())

    def _bytes(self, row: int, ids: list[int]) -> Iterator[bytes]:
        for position, i in enumerate(ids):
            if i >= self.vocab_size:
                raise ValueError(
                    f"row {row}: token id {i} at position {position} is outside the vocabulary of "
                    f"{self.vocab_size} tokens"
                )
            yield self._vocab[i]
