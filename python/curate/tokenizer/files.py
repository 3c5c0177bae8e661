"""The files of a trained model: tokenizer.json, vocab.json with merges.txt, and .tiktoken ranks.

tokenizer.json holds everything and is the file that this tool reads. The others carry the same model to libraries that
read those forms, and give the same ids there with the same pattern. In the byte-level form a byte is written as one
character (0x41 is "A", the space is "Ġ"), and a vocabulary of 32,000 tokens is about 1.3 MB of JSON. In the byte
fallback form tokens are written as they are and a byte as `<0x41>`; that form has only tokenizer.json, because
merges.txt cannot hold a token with a space and .tiktoken files have no characters.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from curate import _rust

DIGITS = {
    "single": r"\p{N}",
    "left": r"\p{N}{1,3}",
    "right": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
}
# How the named patterns write numbers, the longest first.
_NUMBERS = (r"\p{N}{1,3}", r" ?\p{N}+", r"\p{N}+", r"\p{N}")


_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
# Patterns beside those of the kernel. superword: a line without its numbers is one piece (arXiv 2503.13423).
NAMED = {"superword": r"\p{N}{1,3}|[^\p{N}\r\n]+|[\r\n]+"}


@dataclass(frozen=True)
class Model:
    """What `train_bpe` returned, and what it was asked for. `byte_fallback`: merges begin with characters."""

    vocab: pa.Array
    left: pa.Array
    right: pa.Array
    expression: str
    special_tokens: Sequence[str]
    byte_fallback: bool = False

    def names(self) -> list[str]:
        """How files write each token."""
        tokens = [token.as_py() for token in pa.array(self.vocab)]
        n = len(self.special_tokens)
        if not self.byte_fallback:
            return [*self.special_tokens, *map(name_of_bytes, tokens[n:])]
        return [*self.special_tokens, *map(byte_name, range(256)), *(token.decode() for token in tokens[n + 256 :])]

    def merges(self) -> list[list[str]]:
        names = self.names()
        pairs = zip(pa.array(self.left).to_pylist(), pa.array(self.right).to_pylist(), strict=True)
        return [[names[a], names[b]] for a, b in pairs]


def with_digits(pattern: str, digits: str) -> str:
    """The expression of a pattern whose numbers are split "single", in threes from the "left" or the "right".

    "pattern" leaves them as the pattern has them. ValueError where the expression says nothing of \\p{N}.
    """
    expression = _rust.pattern_expression(NAMED.get(pattern, pattern))
    if digits == "pattern":
        return expression
    for written in _NUMBERS:
        if f"|{written}|" in f"|{expression}|":
            return f"|{expression}|".replace(f"|{written}|", f"|{DIGITS[digits]}|", 1)[1:-1]
    raise ValueError(f'digits is "{digits}", but the pattern has no alternative for numbers (\\p{{N}}) to replace')


def tokenizer_json(model: Model) -> bytes:
    """The tokenizer file that the `tokenizers` library reads; the same model gives the same bytes."""
    bpe = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": False,
        "vocab": {name: i for i, name in enumerate(model.names())},
        "merges": model.merges(),
    }
    return layout(bpe, model.expression, model.special_tokens, byte_fallback=model.byte_fallback)


def extended(
    content: bytes, tokens: Sequence[bytes], left: Sequence[int], right: Sequence[int], expression: str
) -> bytes:
    """A byte-level tokenizer.json with tokens and merges behind its own, and with another pattern where that differs.

    tokens: the bytes of all tokens by id, those of the file first. left, right: the new merges, as ids.
    """
    file = json.loads(content)
    model = file["model"]
    vocab: dict[str, int] = model["vocab"]
    # Added tokens that the vocabulary lacks would get other ids from the library, behind the new tokens.
    vocab.update({token["content"]: token["id"] for token in file.get("added_tokens") or []})
    known = {number: name for name, number in vocab.items()}
    first = 1 + max(known)
    known |= {number: name_of_bytes(tokens[number]) for number in range(first, len(tokens))}
    vocab.update({known[number]: number for number in range(first, len(tokens))})
    in_words = bool(model["merges"]) and isinstance(model["merges"][0], str)
    for a, b in zip(left, right, strict=True):
        model["merges"].append(f"{known[a]} {known[b]}" if in_words else [known[a], known[b]])
    if expression:
        file["pre_tokenizer"] = _pre_tokenizer(expression)
    return json.dumps(file, ensure_ascii=False, indent=1).encode() + b"\n"


def _pre_tokenizer(expression: str, *, byte_fallback: bool = False) -> dict[str, Any]:
    """What splits a text by an expression, and in the byte-level form then writes bytes as characters."""
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    return split if byte_fallback else {"type": "Sequence", "pretokenizers": [split, _BYTE_LEVEL]}


def layout(
    model: dict[str, Any], expression: str, special_tokens: Sequence[str], *, byte_fallback: bool = False
) -> bytes:
    """A tokenizer file around a model: how text is split before it, and put together after it."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    fallback = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    parts: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": text, **flags} for i, text in enumerate(special_tokens)],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(expression, byte_fallback=byte_fallback),
        "post_processor": None,
        "decoder": fallback if byte_fallback else _BYTE_LEVEL,
        "model": model,
    }
    return json.dumps(parts, ensure_ascii=False, indent=1).encode() + b"\n"


def vocab_json(model: Model) -> bytes:
    """{token: id}, special tokens included: the one half of what GPT-2's form has."""
    return json.dumps({name: i for i, name in enumerate(model.names())}, ensure_ascii=False).encode() + b"\n"


def merges_txt(model: Model) -> bytes:
    """A merge a line, `left right`, in order of rank: the other half."""
    return "".join(["#version: 0.2\n", *(f"{left} {right}\n" for left, right in model.merges())]).encode()


def tiktoken_ranks(model: Model) -> bytes:
    """`base64(bytes) id` a line, special tokens left out; the id is the rank, and the ids are those of the others."""
    tokens = [token.as_py() for token in pa.array(model.vocab)]
    first = len(model.special_tokens)
    lines = [b"%s %d\n" % (base64.b64encode(token), i) for i, token in enumerate(tokens) if i >= first]
    return b"".join(lines)


def byte_name(byte: int) -> str:
    """The token of a byte in the byte fallback form."""
    return f"<0x{byte:02X}>"


@cache
def characters() -> dict[int, str]:
    """The character that names each byte: printable ones themselves, the other 68 from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}


def name_of_bytes(token: bytes) -> str:
    """How a byte-level file writes a token."""
    named = characters()
    return "".join([named[byte] for byte in token])
