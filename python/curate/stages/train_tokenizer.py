"""train_tokenizer: a byte-level BPE tokenizer from the documents of the run.

count emits every task's distinct pieces with their counts, train adds them up and merges the most frequent
pairs until the vocabulary is full. The result is tokenizer.json in the run's folder, equal to what the
`tokenizers` library gives for the same text.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from curate import kernels
from curate.config import Settings, setting
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage
from curate.tokenizer import END_OF_DOCUMENT, tokenizer_json


class TrainTokenizer(Settings):
    vocab_size: int = setting(
        32768, "tokens in the vocabulary, the 256 bytes and special tokens included", unit="tokens", ge=257
    )
    pattern: str = setting("gpt4", "how text is split into pieces: gpt2, gpt4, or a regular expression", min_length=1)
    special_tokens: list[str] = setting(
        [END_OF_DOCUMENT], "the first is the end-of-document token; text never encodes to any of them", min_length=1
    )
    min_frequency: int = setting(0, "pairs seen less often are not merged", ge=0)
    max_token_length: int | None = setting(None, "no token is made longer than this", unit="bytes", ge=1)

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str) -> str:
        kernels.count_pretokens(pa.array([""], pa.large_string()), pattern=pattern)  # ValueError says where it fails
        return pattern


def open_config(config: TrainTokenizer, side: Side) -> TrainTokenizer:
    return config


def count(batch: pa.RecordBatch, config: TrainTokenizer) -> Applied:
    pretokens, counts = kernels.count_pretokens(batch.column("text"), pattern=config.pattern)
    return Applied(batch, emits={"counts": pa.RecordBatch.from_pydict({"pretoken": pretokens, "count": counts})})


def add_up(table: pa.Table) -> pa.Table:
    """One row a pretoken, sorted by its bytes."""
    summed = table.group_by("pretoken").aggregate([("count", "sum")]).rename_columns(["pretoken", "count"])
    return summed.take(pc.sort_indices(summed, sort_keys=[("pretoken", "ascending")]))


def train(config: TrainTokenizer, reads: Reads) -> Mapping[str, bytes]:
    rows = reads.table("count.counts")
    if rows.num_rows == 0:
        raise ConfigError("train_tokenizer: there is no text to train on; every document was dropped or set aside")
    rows = add_up(rows)
    try:
        vocab, left, right = kernels.train_bpe(
            rows.column("pretoken"),
            rows.column("count"),
            vocab_size=config.vocab_size,
            special_tokens=config.special_tokens,
            min_frequency=config.min_frequency,
            max_token_length=config.max_token_length,
        )
    except ValueError as error:
        raise ConfigError(f"train_tokenizer: {error}") from None
    content = tokenizer_json(vocab, left, right, pattern=config.pattern, special_tokens=config.special_tokens)
    return {"tokenizer": content}


STAGE = Stage(
    name="train_tokenizer",
    version=1,
    summary="Train a byte-level BPE tokenizer.",
    config=TrainTokenizer,
    phases=(
        Phase("count", "each", open=open_config, apply=count, emits=(Channel("counts", combine=add_up),)),
        Phase("train", "all", run=train, side=("count.counts",), emits=(Channel("tokenizer", path="tokenizer.json"),)),
    ),
)
