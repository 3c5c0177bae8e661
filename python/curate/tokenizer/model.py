"""A model read from a `tokenizer.json` and opened as an encoder.

    encoder = open_encoder(path)            # once a worker
    ids = encoder.encode(texts, end_of_document=0)

It reads any BPE file with byte level or byte fallback, trained here or elsewhere: the shapes of GPT-2, GPT-NeoX, Llama,
Qwen. Ids are those that the `tokenizers` library gives with add_special_tokens=False and encode_special_tokens: special
tokens in a text are text, other added tokens are tokens. A file with a part that would make ids differ (another
normalizer, a leading space added to the text, ...) is refused, and the part named. NFC composes by Unicode 16, as
tokenizers 1.0 does; tokenizers 0.x composes by Unicode 9 and leaves some newer marks as they are. A Unigram file is
read if it has byte level, as those trained here have, so that decoding gives every text back; the library itself then
encodes, a hundred times slower than BPE.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.tokenizer.files import byte_name, characters, name_of_bytes
from curate.tokenizer.unigram import LibraryEncoder

END_OF_DOCUMENT = "<|endoftext|>"
"""The token that ends documents in tokenizers that are trained here."""

ENDS = (END_OF_DOCUMENT, "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>")
"""Tokens that end documents: those of GPT-2, GPT-NeoX and Qwen; Llama 3; Llama 2 and Mistral; Gemma; DeepSeek."""


class Encoder(Protocol):
    """What turns text into token ids: `_rust.Encoder` (described in `_rust.pyi`) or unigram.LibraryEncoder."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: Any, *, end_of_document: int | None = None) -> Any: ...

    def encode_lists(self, texts: Sequence[str], *, end_of_document: int | None = None) -> list[list[int]]: ...

    def decode(self, tokens: Any) -> Any: ...


@dataclass(frozen=True)
class Normal:
    """What happens to a text before it is split."""

    nfc: bool = False  # Unicode composition
    space: str | None = None  # the mark that replaces every space
    prefix: str | None = None  # the mark that is put before the text
    prefix_once: bool = False  # not where the text begins with a space already


@dataclass(frozen=True)
class Tokenizer:
    """A BPE or Unigram model.

    `vocab` (large_binary) holds the bytes of token i at row i, no bytes where the numbering has a hole; `left`
    and `right` (uint32) are the merges by rank, as token ids; `patterns` split text one after the other;
    `special_tokens` maps text to id; `sha256` (64 hex digits) is that of the file. With `ignore_merges` a piece
    that is a token as a whole is that token. `byte_ids` are the tokens of the 256 bytes in the byte fallback form.
    `unigram` is the file itself where its model is a Unigram, which has no merges. `added` are further tokens that
    stand for their text: (text, id, whether it is looked for in the normalized text). `ignored` says what of the file
    is not applied.
    """

    path: str

    vocab: pa.Array
    left: pa.Array
    right: pa.Array
    patterns: tuple[str, ...]
    special_tokens: dict[str, int]
    ignore_merges: bool
    sha256: str
    byte_ids: tuple[int, ...] | None = None
    normal: Normal = Normal()
    unigram: bytes | None = None
    added: tuple[tuple[str, int, bool], ...] = ()
    no_text: frozenset[int] = frozenset()  # ids that no merge makes: special tokens and some of `added`
    ignored: tuple[str, ...] = ()

    def end_of_document(self, name: str | None = None) -> int:
        """The id of the token that ends a document: the one that is named, else the first of ENDS that there is.

        ConfigError names the tokens that there are.
        """
        there = self.special_tokens | {text: number for text, number, _ in self.added}
        found = [there[end] for end in ([name] if name else ENDS) if end in there]
        if found:
            return found[0]
        names = ", ".join(list(there)[:20]) + (" ..." if len(there) > 20 else "") if there else "none"
        wanted = f"end_of_document {name!r}" if name else f"none of {', '.join(ENDS)}"
        raise ConfigError(
            f"{self.path}: {wanted} is an added token of this tokenizer, which has: {names}; name the one that ends "
            "documents with `end_of_document`"
        )

    def encoder(self) -> Encoder:
        """An encoder of this model; it holds tables of some 10 MB, so make it once a worker.

        ConfigError where the model is a Unigram and the `tokenizers` package is not installed; DataError where the
        parts of the file do not belong together.
        """
        if self.unigram is not None:
            return LibraryEncoder(self.unigram, self.vocab)
        try:
            return _rust.Encoder(
                self.vocab,
                self.left,
                self.right,
                pattern=list(self.patterns),
                special_ids=sorted(self.no_text),
                ignore_merges=self.ignore_merges,
                byte_ids=None if self.byte_ids is None else list(self.byte_ids),
                nfc=self.normal.nfc,
                space=self.normal.space,
                prefix=self.normal.prefix,
                prefix_once=self.normal.prefix_once,
                added=list(self.added),
            )
        except ValueError as error:
            raise _refusal(self.path, str(error)) from error


def open_encoder(path: str | Path) -> Encoder:
    """The encoder of a tokenizer file; a file that is cut or of another kind is a DataError with the reason."""
    return read_tokenizer(path).encoder()


def read_tokenizer(path: str | Path) -> Tokenizer:
    """The model in a tokenizer file; DataError names the reason where its ids could not be reproduced."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the tokenizer file {path}: {error.strerror}") from error
    try:
        file = json.loads(content)
    except ValueError as error:
        raise _refusal(path, f"it is not whole JSON ({error})") from error
    try:
        tokenizer = _parse(file, content, str(path))
    except _OtherKindError as error:
        raise _refusal(path, str(error)) from error
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise _refusal(path, f"a part is missing or of the wrong type ({error!r})") from error
    return tokenizer


class _OtherKindError(Exception):
    """The file is of a kind whose ids this encoder would not reproduce."""


def _refusal(path: str | Path, reason: str) -> DataError:
    return DataError(f"{path} is not a BPE tokenizer.json with byte level or byte fallback: {reason}")


def _parse(file: dict[str, Any], content: bytes, path: str) -> Tokenizer:
    """The model in a file's JSON; _OtherKindError names the part that cannot be followed, other errors mean damage."""
    if not isinstance(file, dict) or not isinstance(file.get("model"), dict):
        raise _OtherKindError("it has no `model` object")
    model, sha256 = file["model"], hashlib.sha256(content).hexdigest()
    tokens = file.get("added_tokens") or []
    special_tokens = {token["content"]: token["id"] for token in tokens if token["special"]}
    ignored = tuple(f"its {part} is not applied" for part in ("truncation", "padding") if file.get(part))
    if model.get("type") == "Unigram":
        return replace(_parse_unigram(file, tokens, content, sha256, path), ignored=ignored)
    _check_model(model)
    fallback = bool(model.get("byte_fallback"))
    ids: dict[str, int] = model["vocab"]
    byte_ids = _byte_ids(ids) if fallback else None
    merges = [_halves(merge) for merge in model["merges"]]
    for rank, halves in enumerate(merges):
        for half in halves:
            if half not in ids:
                raise _OtherKindError(f"merge {rank} uses {half!r}, which its vocabulary lacks")
    normal = _normal(file.get("normalizer"))
    added = _added(tokens, normal, file.get("pre_tokenizer"))
    patterns, normal = _patterns(file.get("pre_tokenizer"), normal, fallback=fallback)
    # A byte-level file always splits (_patterns refuses others), so this is one with marks for spaces.
    if not patterns:
        patterns = _at_marks(ids, normal)
    added_ids = {token["content"]: token["id"] for token in tokens}
    # A merge makes names in the letters of bytes, so that an added token with a space is never one.
    outside = {number for text, number, _ in added if text not in ids or not (fallback or _of_bytes(text))}
    return Tokenizer(
        path=path,
        vocab=_vocabulary(ids, added_ids, byte_ids),
        left=pa.array([ids[left] for left, _ in merges], pa.uint32()),
        right=pa.array([ids[right] for _, right in merges], pa.uint32()),
        patterns=patterns,
        special_tokens=special_tokens,
        ignore_merges=bool(model.get("ignore_merges")),
        sha256=sha256,
        byte_ids=byte_ids,
        normal=normal,
        added=added,
        no_text=frozenset(special_tokens.values()) | outside,
        ignored=ignored,
    )


def _of_bytes(name: str) -> bool:
    """Whether a byte-level file writes the token of this text by its text itself."""
    return name_of_bytes(name.encode()) == name


def _added(tokens: list[dict[str, Any]], normal: Normal, pre_tokenizer: Any) -> tuple[tuple[str, int, bool], ...]:
    """The added tokens that are not special: (text, id, normalized)."""
    added = [token for token in tokens if not token["special"]]
    for token in added:
        asked = [flag for flag in ("single_word", "lstrip", "rstrip") if token.get(flag)]
        if asked:
            raise _OtherKindError(f"its added token {token['content']!r} sets {' and '.join(asked)}")
        if not token["content"]:
            raise _OtherKindError(f"its added token {token['id']} has no text")
        if token.get("normalized", True) and normal not in (Normal(), Normal(nfc=True)):
            raise _OtherKindError(f"its added token {token['content']!r} is normalized, which marks its spaces")
    if added and "Metaspace" in [_kind(step) for step in _steps(pre_tokenizer, "pretokenizers")]:
        raise _OtherKindError(f"it has Metaspace and the added token {added[0]['content']!r}, which is not special")
    return tuple((token["content"], token["id"], bool(token.get("normalized", True))) for token in added)


def _parse_unigram(
    file: dict[str, Any], tokens: list[dict[str, Any]], content: bytes, sha256: str, path: str
) -> Tokenizer:
    """A Unigram model of bytes; of characters, where an unknown one is lost, it is another kind."""
    steps = _steps(file.get("pre_tokenizer"), "pretokenizers")
    if file.get("normalizer") or [_kind(step) for step in steps][-1:] != ["ByteLevel"]:
        raise _OtherKindError("its model is a Unigram without ByteLevel, which cannot give every text back")
    patterns, normal = _patterns(file["pre_tokenizer"], Normal(), fallback=False)
    ids = {name: i for i, (name, _) in enumerate(file["model"]["vocab"])}
    absent = next((byte for byte, name in characters().items() if name not in ids), None)
    if absent is not None:
        raise _OtherKindError(f"no token stands for the byte 0x{absent:02x}")
    none = pa.array([], pa.uint32())
    vocab = _vocabulary(ids, {token["content"]: token["id"] for token in tokens}, None)
    special = {token["content"]: token["id"] for token in tokens if token["special"]}
    return Tokenizer(path, vocab, none, none, patterns, special, False, sha256, normal=normal, unigram=content)


def _check_model(model: dict[str, Any]) -> None:
    """Refuse what is no BPE, or has parts that change how it merges."""
    # Files of before 2021 leave the type out; a BPE model is then the one that has merges.
    kind = model.get("type") or ("BPE" if "merges" in model else "unknown")
    if kind != "BPE":
        raise _OtherKindError(f"its model is {kind}, not BPE")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _OtherKindError(f"its model sets {key} to {model[key]!r}")


def _kind(part: Any) -> str:
    """The type of a part of the file, for comparing and for messages."""
    return str(part.get("type", "of unknown type")) if isinstance(part, dict) else repr(part)


def _halves(merge: str | list[str]) -> tuple[str, str]:
    """The two tokens of a merge."""
    # Older files write a merge as "left right"; a name in them never holds a space.
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _byte_ids(ids: dict[str, int]) -> tuple[int, ...]:
    """The ids of `<0x00>` to `<0xFF>`, the tokens of the 256 bytes."""
    absent = next((byte for byte in range(256) if byte_name(byte) not in ids), None)
    if absent is not None:
        raise _OtherKindError(f"its model sets byte_fallback, but no token stands for the byte 0x{absent:02x}")
    return tuple(ids[byte_name(byte)] for byte in range(256))


def _vocabulary(ids: dict[str, int], added: dict[str, int], byte_ids: tuple[int, ...] | None) -> pa.Array:
    """The bytes of every token by id (large_binary); an id that no token has is empty."""
    added_ids = set(added.values())
    size = max([*ids.values(), *added_ids], default=-1) + 1
    # A numbering with large holes is damage or an attack on the memory.
    if size > 4 * (len(ids) + len(added_ids)):
        raise _OtherKindError(f"its {len(ids)} tokens have ids up to {size - 1}")
    byte_of = {i: byte for byte, i in enumerate(byte_ids or ())}
    tokens = [b""] * size
    for text, i in [*((name, i) for name, i in ids.items() if i not in added_ids), *added.items()]:
        if tokens[i]:
            raise _OtherKindError(f"two tokens have the id {i}")
        if i in byte_of:
            tokens[i] = bytes([byte_of[i]])
        else:
            tokens[i] = text.encode() if i in added_ids or byte_ids is not None else _bytes_of_name(text)
    return pa.array(tokens, pa.large_binary())


# -- what happens before the merges --------------------------------------------------------------------------


def _steps(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, sequences opened."""
    if part is None:
        return []
    if _kind(part) == "Sequence":
        return [step for inner in part[key] for step in _steps(inner, key)]
    return [part]


def _normal(normalizer: dict[str, Any] | None) -> Normal:
    """NFC, or the marks for spaces that come from SentencePiece: Prepend and Replace(" ")."""
    steps = _steps(normalizer, "normalizers")
    kinds = [_kind(step) for step in steps]
    if kinds == ["NFC"]:
        return Normal(nfc=True)
    if kinds in (["Replace"], ["Prepend", "Replace"]):
        replace, prefix = steps[-1], steps[0]["prepend"] if len(steps) == 2 else None
        if (
            replace["pattern"] == {"String": " "}
            and len(replace["content"]) == 1
            and prefix in (None, replace["content"])
        ):
            return Normal(space=replace["content"], prefix=prefix)
    if steps:
        raise _OtherKindError(f"its normalizer {' + '.join(kinds)} would change the text")
    return Normal()


def _patterns(
    pre_tokenizer: dict[str, Any] | None, normal: Normal, *, fallback: bool
) -> tuple[tuple[str, ...], Normal]:
    """The patterns that split text, one after the other; Metaspace marks spaces too."""
    steps = _steps(pre_tokenizer, "pretokenizers")
    kinds = [_kind(step) for step in steps]
    if fallback and kinds == ["Metaspace"]:
        return _metaspace(steps[0], normal)
    if not fallback and kinds[-1:] != ["ByteLevel"]:
        raise _OtherKindError(f"its pre-tokenizer is {' + '.join(kinds) or 'absent'}, it does not end with ByteLevel")
    if kinds.count("ByteLevel") > 1:
        raise _OtherKindError("its pre-tokenizer has ByteLevel twice, which writes bytes as characters twice")
    found = [_pattern(step, kind) for step, kind in zip(steps, kinds, strict=True)]
    if not fallback and not any(found):
        raise _OtherKindError("its pre-tokenizer does not split text at all")
    return tuple(pattern for pattern in found if pattern), normal


def _pattern(step: dict[str, Any], kind: str) -> str | None:
    """The regular expression, or the name of a pattern, by which a step splits; None where it does not split."""
    if kind == "ByteLevel":
        if step.get("add_prefix_space"):
            raise _OtherKindError("its ByteLevel sets add_prefix_space")
        return "gpt2" if step.get("use_regex", True) else None
    if kind == "Digits":
        return r"\p{N}" if step.get("individual_digits") else r"\p{N}+"
    if kind == "Split":
        (form, text), behavior = next(iter(step["pattern"].items())), step["behavior"]
        if behavior == "Isolated" and not step.get("invert"):
            return str(text) if form == "Regex" else re.escape(text)
        if behavior == "MergedWithPrevious" and form == "String" and len(text) == 1 and not step.get("invert"):
            return f"[^{re.escape(text)}]*{re.escape(text)}"
        raise _OtherKindError(f"its Split has the behavior {behavior}")
    raise _OtherKindError(f"its pre-tokenizer has a step {kind}")


def _metaspace(step: dict[str, Any], normal: Normal) -> tuple[tuple[str, ...], Normal]:
    """SentencePiece's step: spaces become marks, one is put before the text, and text is split before every mark."""
    mark = step["replacement"]
    scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
    if normal != Normal():
        raise _OtherKindError("it has both a normalizer and Metaspace")
    marked = Normal(space=mark, prefix=None if scheme == "never" else mark, prefix_once=True)
    return ((f"{re.escape(mark)}[^{re.escape(mark)}]*",) if step.get("split", True) else ()), marked


def _at_marks(ids: dict[str, int], normal: Normal) -> tuple[str, ...]:
    """For a file that does not split text: a pattern that splits before every run of marks, if no token crosses there.

    It changes no id. Without it a document is one piece, and since whole documents do not repeat, the cache of pieces
    is of no use: encoding would be ten times slower.
    """
    mark = normal.space
    if mark is None or any(mark in name.lstrip(mark) for name in ids):
        return ()
    return (f"{re.escape(mark)}+[^{re.escape(mark)}]*",)


@cache
def _byte_of_character() -> dict[str, int]:
    return {character: byte for byte, character in characters().items()}


def _bytes_of_name(name: str) -> bytes:
    """The bytes that a byte-level file writes as `name`: "Ġa" is b" a"."""
    byte_of = _byte_of_character()
    try:
        return bytes([byte_of[character] for character in name])
    except KeyError:
        raise _OtherKindError(f"its token {name!r} is not written in byte-level characters") from None
