"""tokenize: documents become token shards that training maps into memory.

tokens/<source>/<task>.arrow are uncompressed Arrow IPC files with the columns doc_id, tokens (the end-of-document id
last), n_tokens and text_bytes. tokens/manifest.json lists them with counts and checksums. What holdout set aside is
encoded the same way below heldout/. The tokenizer is the one that train_tokenizer makes, or a tokenizer.json of the
user's, which is copied into the run's folder: `train run --data RUN` finds it there in both cases.

tokenizer/report.json says how well the tokenizer fits the text: tokens a word and bytes a token by source and
language, how many tokens are hardly used, and how it splits a few samples.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.config import Settings, setting
from curate.errors import DataError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Resources, Side, SideFile, Stage, with_column
from curate.tokenizer.model import ENDS, Tokenizer, read_tokenizer
from curate.tokenizer.report import add_fertility, add_used, fertility, report, used

TOKENIZER = "train_tokenizer.train.tokenizer"  # the side file (stage.phase.channel); the setting can replace it
FOLDERS = {"main": "tokens/", "heldout": "heldout/tokens/"}  # by lane; each has a manifest.json


class Tokenize(Settings):
    """Which tokenizer encodes."""

    tokenizer: str | None = setting(None, "a tokenizer.json; by default the one that train_tokenizer makes")
    end_of_document: str | None = setting(
        None, f"the token that ends a document; by default the first of {', '.join(ENDS)} that the tokenizer has"
    )


class State:
    """The encoder, and what is written into the metadata of every shard; one a worker.

    Raises ConfigError where the tokenizer has no end-of-document token.
    """

    def __init__(self, config: Tokenize, side: Side) -> None:
        tokenizer = read_tokenizer(side.path(TOKENIZER))
        self.encoder = tokenizer.encoder()
        self.end = tokenizer.end_of_document(config.end_of_document)
        self.metadata = {
            "schema_version": str(schema.VERSION),
            "tokenizer_sha256": tokenizer.sha256,
            "vocab_size": str(len(tokenizer.vocab)),
            "end_of_document": str(self.end),
            "special_tokens": json.dumps(tokenizer.special_tokens),
        }


def encode(batch: pa.RecordBatch, state: State) -> Applied:
    """The documents with n_tokens; emits their tokens, and the sums that the report is made of."""
    text = batch.column("text")
    try:
        tokens = pa.array(state.encoder.encode(text, end_of_document=state.end))
    except ValueError as error:  # the tokenizer's regular expression gave up
        raise DataError(f"tokenize: {error}; the rows are counted from the document {_first_id(batch)}") from error
    counts = pc.list_value_length(tokens).cast(pa.uint32())
    kind = schema.TOKENS_16 if tokens.type.value_type == pa.uint16() else schema.TOKENS_32
    # Metadata of fields is left out: it would be the same text in thousands of files.
    fields = [*(f.with_metadata(None) for f in kind), pa.field("source", schema.CATEGORY)]
    columns = [batch.column("doc_id"), tokens, counts, pc.binary_length(text).cast(pa.uint64()), batch.column("source")]
    rows = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=state.metadata))
    # The two sums are a few rows a batch, so that the report needs no second pass over the tokens.
    emits = {"tokens": rows, "fertility": fertility(batch, counts), "used": used(tokens)}
    return Applied(with_column(batch, "n_tokens", counts), emits=emits)


def _first_id(batch: pa.RecordBatch) -> str:
    """The doc_id of the first row, in hex."""
    return str(batch.column("doc_id")[0].as_py().hex())


def manifest(config: Tokenize, reads: Reads) -> Mapping[str, bytes]:
    """manifest.json of tokens/ and of heldout/tokens/, the report, and the tokenizer where it is the user's.

    A run without documents has a manifest of tokens/ that lists no files; heldout/ has one where it has tokens.
    """
    path = reads.path(TOKENIZER)
    tokenizer = read_tokenizer(path)
    made = {"report": report(tokenizer, reads.table("apply.fertility"), reads.table("apply.used"))}
    if config.tokenizer:
        made["tokenizer"] = path.read_bytes()
    files, end = reads.files("apply.tokens"), tokenizer.end_of_document(config.end_of_document)
    for lane, folder in FOLDERS.items():
        chosen = [file for file in files if file.lane == lane]
        if chosen or lane == "main":
            channel = "manifest" if lane == "main" else lane
            made[channel] = json.dumps(_manifest(chosen, folder, tokenizer, end), indent=1).encode()
    return made


def _manifest(files: Sequence[SideFile], folder: str, tokenizer: Tokenizer, end: int) -> dict[str, Any]:
    """The content of a lane's manifest.json; paths are relative to `folder`.

    Each file and each source has its numbers of documents, tokens (ends of documents included) and UTF-8 bytes of text.
    """
    entries: list[dict[str, Any]] = []
    sources: dict[str, dict[str, int]] = {}
    for file in sorted(files, key=lambda file: file.name):
        counts = _counts(file)
        path = file.name.removeprefix(folder)
        entries.append({"path": path, "source": file.source, **counts, "bytes": file.bytes, "sha256": file.sha256})
        total = sources.setdefault(file.source, dict.fromkeys(counts, 0))
        for name, count in counts.items():
            total[name] += count
    size = len(tokenizer.vocab)
    return {
        "version": 1,
        "tokenizer_sha256": tokenizer.sha256,
        "vocab_size": size,
        "end_of_document": end,
        "dtype": "uint16" if size <= 1 << 16 else "uint32",
        "files": entries,
        "sources": dict(sorted(sources.items())),
    }


def _counts(file: SideFile) -> dict[str, int]:
    """Documents, tokens and bytes of text of a shard. Of the mapped file only the two columns of counts are read."""
    with pa.memory_map(str(file.path)) as handle:
        table = pa.ipc.open_file(handle).read_all()
        tokens, text_bytes = (pc.sum(table.column(name)).as_py() or 0 for name in ("n_tokens", "text_bytes"))
    return {"documents": file.rows, "tokens": tokens, "text_bytes": text_bytes}


def _remarks(config: Tokenize) -> list[str]:
    """What of the user's tokenizer is not applied."""
    if config.tokenizer is None:
        return []
    return [f"tokenize: {config.tokenizer}: {part}" for part in read_tokenizer(config.tokenizer).ignored]


STAGE = Stage(
    name="tokenize",
    version=4,
    summary="Encode documents into token shards.",
    config=Tokenize,
    # Measured: 30 MB at 32,768 tokens, 48 MB at 100,000, the cache of 16 MB included; 20 MB for 8 MiB of text.
    resources=lambda config: Resources(state_bytes=64_000_000, batch_bytes=20_000_000),
    remarks=_remarks,
    files=lambda config: {"tokenizer": [config.tokenizer]} if config.tokenizer else {},
    phases=(
        Phase(
            "apply",
            "each",
            open=State,
            apply=encode,
            side=(TOKENIZER,),
            emits=(
                Channel("tokens", path="tokens/{source}/{task}.arrow", words=True),
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
                Channel("tokenizer", path="tokenizer.json"),
            ),
        ),
    ),
)
