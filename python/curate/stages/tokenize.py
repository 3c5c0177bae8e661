"""tokenize: documents become token shards that training maps into memory.

tokens/<source>/<task>.arrow, uncompressed Arrow IPC files: doc_id, tokens (the end-of-document id last),
n_tokens, text_bytes. tokens/manifest.json lists them with counts and checksums. What holdout set aside is
encoded the same way below heldout/. The tokenizer is the recipe's own (train_tokenizer) or a file.

tokenizer/report.json says how well it fits: tokens a word and bytes a token by source and language, tokens hardly
used, samples shown split.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.config import Settings, setting
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, SideFile, Stage, with_column
from curate.tokenizer import END_OF_DOCUMENT, read_tokenizer
from curate.tokenizer_report import add_fertility, add_used, fertility, report, used

TOKENIZER = "train_tokenizer.train.tokenizer"


class Tokenize(Settings):
    tokenizer: str | None = setting(None, "a tokenizer.json; by default the one that train_tokenizer makes")


class State:
    def __init__(self, config: Tokenize, side: Side) -> None:
        tokenizer = read_tokenizer(side.path(TOKENIZER))
        if tokenizer.end_of_document is None:
            raise ConfigError(f"tokenize: {side.path(TOKENIZER)} has no {END_OF_DOCUMENT} token to end documents with")
        self.encoder = tokenizer.encoder()
        self.end = tokenizer.end_of_document
        self.metadata = {
            "schema_version": str(schema.VERSION),
            "tokenizer_sha256": tokenizer.sha256,
            "vocab_size": str(len(tokenizer.vocab)),
            "end_of_document": str(self.end),
            "special_tokens": json.dumps(tokenizer.special_tokens),
        }


def encode(batch: pa.RecordBatch, state: State) -> Applied:
    text = batch.column("text")
    tokens = pa.array(state.encoder.encode(text, end_of_document=state.end))
    counts = pc.list_value_length(tokens).cast(pa.uint32())
    kind = schema.TOKENS_16 if tokens.type.value_type == pa.uint16() else schema.TOKENS_32
    fields = [*(f.with_metadata(None) for f in kind), pa.field("source", schema.CATEGORY)]
    columns = [batch.column("doc_id"), tokens, counts, pc.binary_length(text).cast(pa.uint64()), batch.column("source")]
    rows = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=state.metadata))
    emits = {"tokens": rows, "fertility": fertility(batch, counts), "used": used(tokens)}
    return Applied(with_column(batch, "n_tokens", counts), emits=emits)


def manifest(config: Tokenize, reads: Reads) -> Mapping[str, bytes]:
    """manifest.json of tokens/ and of heldout/tokens/, and the report."""
    tokenizer = read_tokenizer(reads.path(TOKENIZER))
    files = reads.files("apply.tokens")
    lanes = {"manifest": "tokens/", "heldout": "heldout/tokens/"}
    made = {}
    for channel, prefix in lanes.items():
        chosen = [file for file in files if file.name.startswith(prefix)]
        if chosen or channel == "manifest":
            made[channel] = json.dumps(_manifest(chosen, prefix, tokenizer), indent=1).encode()
    made["report"] = report(tokenizer, reads.table("apply.fertility"), reads.table("apply.used"))
    return made


def _manifest(files: Sequence[SideFile], prefix: str, tokenizer: Any) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    sources: dict[str, dict[str, int]] = {}
    for file in sorted(files, key=lambda file: file.name):
        with pa.memory_map(str(file.path)) as handle:
            table = pa.ipc.open_file(handle).read_all()
            source = (table.schema.metadata or {})[b"source"].decode()
            counts = {
                "documents": table.num_rows,
                "tokens": pc.sum(table.column("n_tokens")).as_py(),
                "text_bytes": pc.sum(table.column("text_bytes")).as_py(),
            }
        path = file.name.removeprefix(prefix)
        entries.append({"path": path, "source": source, **counts, "bytes": file.bytes, "sha256": file.sha256})
        total = sources.setdefault(source, dict.fromkeys(counts, 0))
        for name, count in counts.items():
            total[name] += count
    size = len(tokenizer.vocab)
    return {
        "version": 1,
        "tokenizer_sha256": tokenizer.sha256,
        "vocab_size": size,
        "end_of_document": tokenizer.end_of_document,
        "dtype": "uint16" if size <= 1 << 16 else "uint32",
        "files": entries,
        "sources": dict(sorted(sources.items())),
    }


STAGE = Stage(
    name="tokenize",
    version=2,
    summary="Encode documents into token shards.",
    config=Tokenize,
    files=lambda config: {"tokenizer": [config.tokenizer]} if config.tokenizer else {},
    phases=(
        Phase(
            "apply",
            "each",
            open=State,
            apply=encode,
            side=(TOKENIZER,),
            emits=(
                Channel("tokens", path="tokens/{source}/{task}.arrow"),
                Channel("fertility", combine=add_fertility),
                Channel("used", combine=add_used),
            ),
            lanes=("main", "heldout"),
        ),
        Phase(
            "manifest",
            "all",
            run=manifest,
            side=(TOKENIZER, "apply.tokens", "apply.fertility", "apply.used"),
            emits=(
                Channel("manifest", path="tokens/manifest.json"),
                Channel("heldout", path="heldout/tokens/manifest.json"),
                Channel("report", path="tokenizer/report.json"),
            ),
        ),
    ),
)
