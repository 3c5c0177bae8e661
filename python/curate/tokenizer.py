"""The tokenizer file: a byte-level BPE model as `tokenizer.json`, written, read and opened as an encoder.

The file is the one that the `tokenizers` package reads, and gives the same ids there: the pattern as
Split(Regex, Isolated), ByteLevel(use_regex=false), the merges as [left, right] in order of rank. In it a byte
is one character (0x41 is "A", the space is "Ġ"), so a vocabulary of 32,000 tokens is about 1.3 MB of JSON.

    vocab, left, right = train_bpe(pretokens, counts, vocab_size=32_000, special_tokens=["<|endoftext|>"])
    digest = write_tokenizer(path, vocab, left, right, pattern="gpt4", special_tokens=["<|endoftext|>"])
    encoder = open_encoder(path)            # once a worker
    ids = encoder.encode(texts, end_of_document=0)

Reading takes any file of that kind, trained here or elsewhere. Whatever would make its ids differ from ours (a
normalizer, a Unigram model, a leading space added to the text, ...) is refused by name.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import _rust
from curate.errors import DataError

END_OF_DOCUMENT = "<|endoftext|>"


@dataclass(frozen=True)
class Tokenizer:
    """A byte-level BPE model.

    `vocab` (large_binary) holds the bytes of token i at row i, no bytes where the numbering has a hole; `left`
    and `right` (uint32) are the merges by rank, as token ids; `special_tokens` maps text to id; `sha256` (64
    hex digits) is that of the file. With `ignore_merges` a piece that is a token as a whole is that token.
    """

    vocab: pa.Array
    left: pa.Array
    right: pa.Array
    pattern: str
    special_tokens: dict[str, int]
    ignore_merges: bool
    sha256: str

    @property
    def end_of_document(self) -> int | None:
        """The id of `<|endoftext|>`, which separates documents; None where the vocabulary has no such token."""
        return self.special_tokens.get(END_OF_DOCUMENT)

    def encoder(self) -> _rust.Encoder:
        """An encoder of this model; it holds tables of some 10 MB, so make it once a worker."""
        return _rust.Encoder(
            self.vocab,
            self.left,
            self.right,
            pattern=self.pattern,
            special_ids=sorted(self.special_tokens.values()),
            ignore_merges=self.ignore_merges,
        )


def open_encoder(path: str | Path) -> _rust.Encoder:
    """The encoder of a tokenizer file; a file that is cut or of another kind is a DataError with the reason."""
    tokenizer = read_tokenizer(path)
    try:
        return tokenizer.encoder()
    except ValueError as error:
        raise _refusal(path, str(error)) from error


def tokenizer_json(
    vocab: pa.Array, left: pa.Array, right: pa.Array, *, pattern: str, special_tokens: Sequence[str]
) -> bytes:
    """The tokenizer file of what `train_bpe` returned; the same model gives the same bytes.

    `pattern` is a name or a regular expression; the file holds the expression.
    """
    tokens = [token.as_py() for token in pa.array(vocab)]
    names = list(special_tokens) + [_name_of_bytes(token) for token in tokens[len(special_tokens) :]]
    merges = [
        [names[a], names[b]] for a, b in zip(pa.array(left).to_pylist(), pa.array(right).to_pylist(), strict=True)
    ]
    layout = _layout(names, merges, _rust.pattern_expression(pattern), special_tokens)
    return json.dumps(layout, ensure_ascii=False, indent=1).encode() + b"\n"


def write_tokenizer(
    path: str | Path,
    vocab: pa.Array,
    left: pa.Array,
    right: pa.Array,
    *,
    pattern: str,
    special_tokens: Sequence[str],
) -> str:
    """Writes `tokenizer_json` to a file and gives the file's SHA-256 in hex."""
    content = tokenizer_json(vocab, left, right, pattern=pattern, special_tokens=special_tokens)
    Path(path).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _layout(
    names: list[str], merges: list[list[str]], expression: str, special_tokens: Sequence[str]
) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": text, **flags} for i, text in enumerate(special_tokens)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: i for i, name in enumerate(names)},
            "merges": merges,
        },
    }


def read_tokenizer(path: str | Path) -> Tokenizer:
    """The model in a tokenizer file; DataError names the reason where it is not a byte-level BPE file."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the tokenizer file {path}: {error.strerror}") from error
    try:
        file = json.loads(content)
    except ValueError as error:
        raise _refusal(path, f"it is not whole JSON ({error})") from error
    try:
        tokenizer = _parse(file, hashlib.sha256(content).hexdigest())
    except _OtherKindError as error:
        raise _refusal(path, str(error)) from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _refusal(path, f"a part is missing or of the wrong type ({error!r})") from error
    return tokenizer


class _OtherKindError(Exception):
    """The file is of a kind that this encoder does not follow."""


def _refusal(path: str | Path, reason: str) -> DataError:
    return DataError(f"{path} is not a byte-level BPE tokenizer.json: {reason}")


def _parse(file: dict[str, Any], sha256: str) -> Tokenizer:
    if not isinstance(file, dict) or not isinstance(file.get("model"), dict):
        raise _OtherKindError("it has no `model` object")
    model = file["model"]
    _check_model(model)
    if file.get("normalizer") is not None:
        raise _OtherKindError(f"its normalizer {_kind(file['normalizer'])} would change the text")
    special_tokens = {}
    for token in file.get("added_tokens") or []:
        if not token["special"]:
            raise _OtherKindError(f"its added token {token['content']!r} is not a special one")
        special_tokens[token["content"]] = token["id"]
    ids: dict[str, int] = model["vocab"]
    merges = [_halves(merge) for merge in model["merges"]]
    for rank, halves in enumerate(merges):
        for half in halves:
            if half not in ids:
                raise _OtherKindError(f"merge {rank} uses {half!r}, which its vocabulary lacks")
    return Tokenizer(
        vocab=_vocabulary(ids, special_tokens),
        left=pa.array([ids[left] for left, _ in merges], pa.uint32()),
        right=pa.array([ids[right] for _, right in merges], pa.uint32()),
        pattern=_pattern(file.get("pre_tokenizer")),
        special_tokens=special_tokens,
        ignore_merges=bool(model.get("ignore_merges")),
        sha256=sha256,
    )


def _check_model(model: dict[str, Any]) -> None:
    # Files of before 2021 leave the type out; a BPE model is then the one that has merges.
    kind = model.get("type") or ("BPE" if "merges" in model else "unknown")
    if kind != "BPE":
        raise _OtherKindError(f"its model is {kind}, not BPE")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(key):
            raise _OtherKindError(f"its model sets {key} to {model[key]!r}")


def _kind(part: Any) -> str:
    return str(part.get("type", "of unknown type")) if isinstance(part, dict) else repr(part)


def _halves(merge: str | list[str]) -> tuple[str, str]:
    # Older files write a merge as "left right"; a byte-level name never holds a space.
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _vocabulary(ids: dict[str, int], special_tokens: dict[str, int]) -> pa.Array:
    special_ids = set(special_tokens.values())
    size = max([*ids.values(), *special_ids], default=-1) + 1
    if size > 4 * (len(ids) + len(special_ids)):
        raise _OtherKindError(f"its {len(ids)} tokens have ids up to {size - 1}")
    tokens = [b""] * size
    for text, i in [*((name, i) for name, i in ids.items() if i not in special_ids), *special_tokens.items()]:
        if tokens[i]:
            raise _OtherKindError(f"two tokens have the id {i}")
        tokens[i] = text.encode() if i in special_ids else _bytes_of_name(text)
    return pa.array(tokens, pa.large_binary())


def _pattern(pre_tokenizer: dict[str, Any] | None) -> str:
    """The pattern that splits text: of ByteLevel itself, or of one Split before a ByteLevel without one."""
    steps = [pre_tokenizer] if pre_tokenizer else []
    if _kind(pre_tokenizer) == "Sequence" and pre_tokenizer:
        steps = pre_tokenizer["pretokenizers"]
    kinds = [_kind(step) for step in steps]
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise _OtherKindError(f"its pre-tokenizer is {' + '.join(kinds) or 'absent'}, not [Split +] ByteLevel")
    byte_level = steps[-1]
    if byte_level.get("add_prefix_space"):
        raise _OtherKindError("its ByteLevel sets add_prefix_space")
    if len(steps) == 1:
        if not byte_level.get("use_regex", True):
            raise _OtherKindError("its pre-tokenizer does not split text at all")
        return "gpt2"
    split = steps[0]
    if byte_level.get("use_regex", True) or split["behavior"] != "Isolated" or split.get("invert"):
        raise _OtherKindError("its pre-tokenizer is not Split(Isolated) + ByteLevel(use_regex=false)")
    if "Regex" not in split["pattern"]:
        raise _OtherKindError("its Split has no regular expression")
    return str(split["pattern"]["Regex"])


@cache
def _characters() -> dict[int, str]:
    """The character that names each byte: printable ones themselves, the other 68 from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}


@cache
def _byte_of_character() -> dict[str, int]:
    return {character: byte for byte, character in _characters().items()}


def _name_of_bytes(token: bytes) -> str:
    characters = _characters()
    return "".join([characters[byte] for byte in token])


def _bytes_of_name(name: str) -> bytes:
    byte_of = _byte_of_character()
    try:
        return bytes([byte_of[character] for character in name])
    except KeyError:
        raise _OtherKindError(f"its token {name!r} is not written in byte-level characters") from None
