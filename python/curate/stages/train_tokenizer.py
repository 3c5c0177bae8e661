"""train_tokenizer: a BPE or Unigram tokenizer from the documents of the run.

The phase count splits text into pieces, such as words, and emits the distinct ones of every task with their counts.
The phase train adds the counts up and merges the most frequent pairs of tokens until the vocabulary is full. The
result is tokenizer.json in the run's folder, equal to what the `tokenizers` library gives for the same text; in the
byte-level form also tokenizer/vocab.json, merges.txt and ranks.tiktoken.

With `model: unigram` the `tokenizers` library trains on the same counts, and encodes afterwards. Training takes minutes
where BPE takes seconds, and encoding runs at 1 to 2 MB/s where BPE reaches 200 MB/s.

With `base` training goes on from a byte-level tokenizer.json, whoever made it: its tokens keep their ids, special ones
too, and its merges come first, so that a model's vocabulary is extended without touching what it has learned. With
`pattern: superword` beside it pieces are lines without their numbers, and tokens of several words are learned (the
second stage of SuperBPE, arXiv 2503.13423); `max_token_length` keeps whole sentences out. Of 32,000 tokens for 26 MB of
English prose, 6,000 of them such, one stands for 5.21 bytes of other prose, where words alone give 4.19; encoding is
then six times slower, as lines seldom come twice.

    curate train-tokenizer docs/ --vocab-size 26000 --out words
    curate train-tokenizer docs/ --vocab-size 32000 --out both \\
      --base words/tokenizer.json --pattern superword

Weights multiply the counts of a source. They are rational numbers, and all counts are multiplied by the least common
multiple of their denominators, so that sums are exact 64-bit integers in any order: {web: 1/3, code: 2} counts every
piece of web once, of code six times, and of any other source three times.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator, model_validator

from curate import kernels
from curate.config import Settings, setting
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Stage
from curate.tokenizer.files import (
    Model,
    extended,
    merges_txt,
    tiktoken_ranks,
    tokenizer_json,
    vocab_json,
    with_digits,
)
from curate.tokenizer.model import END_OF_DOCUMENT, Normal, read_tokenizer
from curate.tokenizer.unigram import MISSING, train_unigram

LARGEST = 2**63 - 1  # of an int64 count


class TrainTokenizer(Settings):
    """What is trained, and how text is cut into the pieces that it is trained on."""

    model: Literal["bpe", "unigram"] = setting(
        "bpe", "merges of the most frequent pairs, or a Unigram model by the `tokenizers` package (an extra, and slow)"
    )
    vocab_size: int = setting(
        32768, "tokens in the vocabulary, the 256 bytes and special tokens included", unit="tokens", ge=257
    )
    base: str = setting("", "byte-level tokenizer.json to go on from: its tokens keep their ids")
    pattern: str = setting(
        "gpt4",
        "how text is split into pieces: gpt2, gpt4, llama3, qwen2, o200k, superword, or a regular expression; with base"
        " its own where not set",
        min_length=1,
    )
    digits: Literal["pattern", "single", "left", "right"] = setting(
        "pattern", "numbers: as the pattern has them, digit by digit, or in threes from the left or the right"
    )
    form: Literal["byte_level", "byte_fallback"] = setting(
        "byte_level", "merges begin with bytes, or with characters, those without a token written as bytes"
    )
    alphabet: str = setting("", "characters that get a token even where the text lacks them (byte_fallback)")
    limit_alphabet: int | None = setting(None, "at most so many characters, the most frequent (byte_fallback)", ge=1)
    special_tokens: list[str] = setting(
        [END_OF_DOCUMENT], "the first is the end-of-document token; text never encodes to any of them", min_length=1
    )
    min_frequency: int = setting(0, "pairs seen less often are not merged; weights count", ge=0)
    max_token_length: int | None = setting(
        None,
        "no token is made longer than this; 16 where the model is a unigram and this is not set",
        unit="bytes; characters with byte_fallback",
        ge=1,
    )
    weights: dict[str, str] = setting(
        {}, "what a source's counts are multiplied by, as in `web: 1/3, code: 2`; 1 where not named, 0 leaves out"
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _weights_are_rational(cls, weights: Any) -> Any:
        """Each weight as text; ValueError where one is no rational number or is below 0."""
        # Kept as text, `1/3` or `2`, so that the resolved settings can be written and read again.
        if not isinstance(weights, dict):
            return weights
        return {source: str(_weight(source, weight)) for source, weight in weights.items()}

    @model_validator(mode="before")
    @classmethod
    def _pattern_of_the_base(cls, data: Any) -> Any:
        """The pattern of the base where none is given; ValueError where it has several."""
        if not isinstance(data, dict) or not data.get("base") or "pattern" in data:
            return data
        patterns = read_tokenizer(data["base"]).patterns
        if len(patterns) != 1:
            raise ValueError(f"the base splits text by {len(patterns)} patterns: give the one to train with as pattern")
        return {**data, "pattern": patterns[0]}

    @model_validator(mode="after")
    def _base_can_be_extended(self) -> "TrainTokenizer":
        """ValueError where the base is of another kind, or a setting is given that the base decides."""
        if not self.base:
            return self
        for name in ("model", "form", "alphabet", "limit_alphabet", "special_tokens"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"the base decides that: leave out {name}")
        base = read_tokenizer(self.base)
        if base.unigram is not None or base.byte_ids is not None or base.normal.space or base.normal.prefix:
            raise ValueError("the base must be a BPE model with byte level, and add nothing to the text")
        if self.vocab_size <= len(base.vocab):
            raise ValueError(f"vocab_size {self.vocab_size:,}: the base has {len(base.vocab):,} tokens already")
        return self

    @model_validator(mode="after")
    def _pattern_compiles(self) -> "TrainTokenizer":
        """ValueError, with the position, where the pattern is no regular expression."""
        with_digits(self.pattern, self.digits)
        return self

    @model_validator(mode="after")
    def _unigram_can_be_trained(self) -> "TrainTokenizer":
        """ValueError where a setting of BPE alone is given with a Unigram model, or its library is missing."""
        if self.model == "unigram":
            for name in ("form", "alphabet", "limit_alphabet", "min_frequency"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"model is unigram, which is one of bytes and has no merges: leave out {name}")
            if find_spec("tokenizers") is None:
                raise ValueError(MISSING)
        return self

    @property
    def expression(self) -> str:
        """The regular expression that splits text, named patterns and the treatment of digits resolved."""
        return with_digits(self.pattern, self.digits)


def _weight(source: str, weight: Any) -> Fraction:
    """A weight as a rational number; ValueError where it is none or is below 0."""
    try:
        # 0.1 is a tenth, not the nearest number that a machine has.
        rational = Fraction(str(weight).strip())
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"the weight of {source} is {weight!r}; a number such as 2, 0.5 or 1/3 is expected") from None
    if rational < 0:
        raise ValueError(f"the weight of {source} is {weight}, below 0")
    return rational


def count(batch: pa.RecordBatch, config: TrainTokenizer) -> Applied:
    """Emits (pretoken, count) of the batch; with weights also the source, whose counts are then kept apart.

    "Pretoken" is the name of a piece in columns.
    """
    text = batch.column("text")
    if not config.weights:
        return Applied(batch, emits={"counts": _counted(text, config, None)})
    source = pc.fill_null(batch.column("source").cast(pa.string()), "unknown")
    parts = [
        _counted(text.filter(pc.equal(source, name)), config, name) for name in sorted(pc.unique(source).to_pylist())
    ]
    return Applied(batch, emits={"counts": pa.concat_batches(parts)})


def _counted(text: pa.Array, config: TrainTokenizer, source: str | None) -> pa.RecordBatch:
    """The distinct pieces of a column of texts and their counts, with the name of the source where one is given."""
    pretokens, counts = kernels.count_pretokens(text, pattern=config.expression)
    columns = {"pretoken": pretokens, "count": counts}
    if source is not None:
        columns["source"] = pa.array([source] * len(counts), pa.string())
    return pa.RecordBatch.from_pydict(columns)


def add_up(table: pa.Table) -> pa.Table:
    """One row a piece (and source, where counts are kept apart), sorted by its bytes."""
    if "source" not in table.column_names:
        pretokens, counts = kernels.add_counts(table.column("pretoken"), table.column("count"))
        return pa.table({"pretoken": pretokens, "count": counts})
    parts = []
    for source in _sources(table):
        rows = table.filter(pc.equal(table.column("source"), source))
        pretokens, counts = kernels.add_counts(rows.column("pretoken"), rows.column("count"))
        parts.append(
            pa.table({"pretoken": pretokens, "count": counts, "source": pa.array([source] * len(counts), pa.string())})
        )
    return pa.concat_tables(parts) if parts else table


def _sources(table: pa.Table) -> list[str]:
    return sorted(pc.unique(table.column("source")).to_pylist())


def weighted(rows: pa.Table, weights: Mapping[str, str]) -> tuple[pa.Table, int]:
    """(pretoken, count) with the counts of each source multiplied, and the scale that all counts have in common.

    Raises ConfigError where a weight names a source without text, or the counts no longer fit 64 bits.
    """
    exact = {source: Fraction(weight) for source, weight in weights.items()}
    known = _sources(rows)
    unknown = sorted(set(exact) - set(known))
    if unknown:
        raise ConfigError(f"train_tokenizer.weights: no text of a source {unknown[0]!r}; there are: {', '.join(known)}")
    scale = math.lcm(*(weight.denominator for weight in exact.values()))
    parts = []
    for source in known:
        part = rows.filter(pc.equal(rows.column("source"), source)).select(["pretoken", "count"])
        factor = int(exact.get(source, Fraction(1)) * scale)
        total = pc.sum(part.column("count")).as_py() or 0
        if total * factor > LARGEST:
            raise ConfigError(
                f"train_tokenizer.weights: {total:,} pieces of {source} times {factor:,} do not fit 64 bits; "
                "choose weights with smaller denominators"
            )
        if factor:
            parts.append(part.set_column(1, "count", pc.multiply(part.column("count"), factor)))
    return pa.concat_tables(parts) if parts else rows.select(["pretoken", "count"]).slice(0, 0), scale


def train(config: TrainTokenizer, reads: Reads) -> Mapping[str, bytes]:
    """The files of the tokenizer by channel.

    The distinct pieces of all documents and their counts are held in memory. Raises ConfigError where there is no text,
    a weight names no source, or the vocabulary is too small for what it must hold. Where the text gives fewer tokens
    than `vocab_size`, a warning says so.
    """
    rows, scale = reads.table("count.counts"), 1
    if rows.num_rows and config.weights:
        rows, scale = weighted(rows, config.weights)
    if rows.num_rows == 0:
        raise ConfigError("train_tokenizer: there is no text to train on; every document was dropped or set aside")
    rows = add_up(rows)
    if config.base:
        made, size, notes = _extended(config, rows, scale, reads.path("base"))
    else:
        made, size, notes = (_unigram if config.model == "unigram" else _bpe)(config, rows, scale)
    if size < config.vocab_size:
        what = "pieces" if config.model == "unigram" else "pairs to merge"
        notes.append(
            f"train_tokenizer: the text has no more {what}: {size:,} tokens were made, "
            f"{config.vocab_size:,} were asked for"
        )
    return made | ({"notes": "\n".join(notes).encode()} if notes else {})


def _bpe(config: TrainTokenizer, rows: pa.Table, scale: int) -> tuple[dict[str, bytes], int, list[str]]:
    """(files by channel, tokens made, notes). Counts were multiplied by `scale`, and so the least frequency is, too."""
    try:
        vocab, left, right = kernels.train_bpe(
            rows.column("pretoken"),
            rows.column("count"),
            vocab_size=config.vocab_size,
            special_tokens=config.special_tokens,
            min_frequency=config.min_frequency * scale,
            max_token_length=config.max_token_length,
            characters=config.alphabet if config.form == "byte_fallback" else None,
            limit_alphabet=config.limit_alphabet,
        )
    except ValueError as error:
        raise ConfigError(f"train_tokenizer: {error}") from None
    fallback = config.form == "byte_fallback"
    model = Model(vocab, left, right, config.expression, config.special_tokens, fallback)
    made = {"tokenizer": tokenizer_json(model)}
    if not fallback:
        made |= {"vocab": vocab_json(model), "merges": merges_txt(model), "ranks": tiktoken_ranks(model)}
    return made, len(vocab), []


def _extended(
    config: TrainTokenizer, rows: pa.Table, scale: int, path: Path
) -> tuple[dict[str, bytes], int, list[str]]:
    """As _bpe, from the base on: pieces are what its merges make of them whole, and its file gets what is new."""
    base, content = read_tokenizer(path), path.read_bytes()
    encoder = replace(base, patterns=(r"[\s\S]+",), normal=Normal(), added=()).encoder()
    pieces = rows.column("pretoken").combine_chunks().cast(pa.large_string())
    tokens = pa.array(encoder.encode(pieces)).cast(pa.large_list(pa.uint32()))
    vocab, left, right = kernels.extend_bpe(
        tokens,
        rows.column("count"),
        base.vocab,
        no_text=sorted(base.no_text),
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency * scale,
        max_token_length=config.max_token_length,
    )
    expression = "" if base.patterns == (config.expression,) else config.expression
    found = extended(content, vocab.to_pylist(), left.to_pylist(), right.to_pylist(), expression)
    return {"tokenizer": found}, len(vocab), []


def _unigram(config: TrainTokenizer, rows: pa.Table, scale: int) -> tuple[dict[str, bytes], int, list[str]]:
    """As _bpe, by the `tokenizers` library; it has no least frequency, so `scale` changes nothing."""
    content, size, notes = train_unigram(
        rows.column("pretoken"),
        rows.column("count"),
        vocab_size=config.vocab_size,
        special_tokens=config.special_tokens,
        max_token_length=config.max_token_length,
        expression=config.expression,
    )
    return {"tokenizer": content}, size, notes


# (channel, path) of what is written; all but tokenizer.json only in the byte-level form, and without a base.
PRODUCTS: Iterable[tuple[str, str]] = (
    ("tokenizer", "tokenizer.json"),
    ("vocab", "tokenizer/vocab.json"),
    ("merges", "tokenizer/merges.txt"),
    ("ranks", "tokenizer/ranks.tiktoken"),
)

STAGE = Stage(
    name="train_tokenizer",
    version=2,
    summary="Train a BPE or Unigram tokenizer.",
    config=TrainTokenizer,
    files=lambda config: {"base": [config.base] if config.base else []},
    libraries=lambda config: ("tokenizers",) if config.model == "unigram" else (),
    phases=(
        Phase(
            "count",
            "each",
            apply=count,
            documents=False,
            emits=(Channel("counts", combine=add_up),),
            settings=("pattern", "digits", "weights"),
        ),
        Phase(
            "train",
            "all",
            run=train,
            side=("count.counts", "base"),
            emits=tuple(Channel(name, path=path, words=True) for name, path in PRODUCTS),
        ),
    ),
)
