"""Token shards of a curate run, mapped into memory and checked against their manifest.

Shards are what `curate tokenize` wrote: one folder a source, uncompressed Arrow IPC files, a document a row, the
end-of-document id last, and manifest.json with counts and checksums. A shard of any size takes no memory until its
tokens are read, and opening one reads its footer and the counts alone.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from curate.errors import ConfigError, DataError

Int = npt.NDArray[np.int64]
REMEDY = "the shards were changed or cut short: run `curate` again, it makes what is missing"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ShardFile(_Record):
    path: str
    source: str
    documents: int
    tokens: int
    text_bytes: int
    bytes: int
    sha256: str


class Manifest(_Record):
    """tokens/manifest.json; unknown keys are left for later versions."""

    version: int
    tokenizer_sha256: str
    vocab_size: int
    end_of_document: int
    dtype: str
    files: list[ShardFile]
    sources: dict[str, dict[str, int]]


class Chunk(NamedTuple):
    """A record batch: document i is values[offsets[i] : offsets[i + 1]]."""

    offsets: Int
    values: npt.NDArray[np.integer[Any]]
    text_bytes: npt.NDArray[np.uint64]
    doc_ids: pa.Array  # 16 bytes each


class Source:
    """The documents of one source, in the order of the manifest's files."""

    def __init__(self, name: str, chunks: Sequence[Chunk], fingerprint: str) -> None:
        self.name, self.chunks, self.fingerprint = name, chunks, fingerprint
        self.first = np.cumsum([0, *(len(chunk.text_bytes) for chunk in chunks)])  # first document of each chunk

    @property
    def documents(self) -> int:
        return int(self.first[-1])

    def lengths(self) -> npt.NDArray[np.uint32]:
        """Tokens of every document, its end-of-document id included."""
        parts = [np.diff(chunk.offsets) for chunk in self.chunks]
        return np.concatenate(parts).astype(np.uint32) if parts else np.zeros(0, dtype=np.uint32)

    def document_bytes(self) -> npt.NDArray[np.uint64]:
        """UTF-8 bytes of every document."""
        parts = [chunk.text_bytes for chunk in self.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)

    def doc_ids(self, documents: Int) -> list[bytes]:
        """The doc_id of every document of the list."""
        numbers = np.searchsorted(self.first, documents, side="right") - 1
        return [
            self.chunks[number].doc_ids[int(document - self.first[number])].as_py()
            for number, document in zip(numbers.tolist(), documents, strict=True)
        ]

    def check_ends(self, end_of_document: int) -> None:
        """Raise DataError naming the first document that is empty or does not end as documents do."""
        for number, chunk in enumerate(self.chunks):
            wrong = np.diff(chunk.offsets) < 1
            wrong[~wrong] = chunk.values[chunk.offsets[1:][~wrong] - 1] != end_of_document
            if wrong.any():
                document = int(self.first[number] + np.argmax(wrong))
                raise DataError(
                    f"source {self.name}: document {document} does not end with the end-of-document id "
                    f"{end_of_document}; tokenize it again"
                )


class Shards:
    """The token shards of a run: `sources` by name, mapped into memory."""

    def __init__(self, folder: Path, manifest: Manifest, sources: dict[str, Source]) -> None:
        self.folder, self.manifest, self.sources = folder, manifest, sources

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content of all shards, as the manifest gives it."""
        facts = [
            self.manifest.tokenizer_sha256,
            *(f"{name}:{s.fingerprint}" for name, s in sorted(self.sources.items())),
        ]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def open_shards(folder: Path, verify: bool = False) -> Shards:
    """Map `folder` (RUN/tokens, RUN/heldout/tokens), checked against its manifest: sizes, types and counts.

    With `verify` checksums too, which reads every byte. Raises ConfigError where there are no shards, DataError naming
    the file and what differs.
    """
    manifest = _read_manifest(folder / "manifest.json")
    files: dict[str, list[ShardFile]] = {name: [] for name in manifest.sources}
    for file in manifest.files:
        if file.source not in files:
            raise DataError(f"{folder}/manifest.json: {file.path} is of a source that it does not list: {file.source}")
        files[file.source].append(file)
    sources = {}
    for name in sorted(files):
        for count in ("documents", "tokens", "text_bytes"):
            found = sum(getattr(file, count) for file in files[name])
            _same(folder / "manifest.json", f"{count} of the source {name}", manifest.sources[name].get(count), found)
        chunks = [chunk for file in files[name] for chunk in _map_file(folder, file, manifest.dtype, verify)]
        fingerprint = hashlib.sha256("\n".join(f.sha256 for f in files[name]).encode()).hexdigest()
        sources[name] = Source(name, chunks, fingerprint)
    return Shards(folder, manifest, sources)


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; --data takes the folder of a run that filled with tokens") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: not a manifest of token shards: {key}: {first['msg'].lower()}") from None
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if manifest.version != 1:
        raise DataError(f"{path}: version {manifest.version}; this trainer reads version 1")
    if manifest.dtype not in ("uint16", "uint32"):
        raise DataError(f"{path}: dtype {manifest.dtype}; expected uint16 or uint32")
    return manifest


def _same(path: Path, what: str, expected: object, found: object) -> None:
    if expected != found:
        raise DataError(f"{path}: {what}: {expected} expected, {found} found; {REMEDY}")


def _map_file(folder: Path, file: ShardFile, dtype: str, verify: bool) -> list[Chunk]:
    path = folder / file.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{folder}/manifest.json: {file.path} leads out of the folder")
    try:
        _same(path, "size in bytes", file.bytes, path.stat().st_size)
        if verify:
            with path.open("rb") as stream:
                _same(path, "sha256", file.sha256, hashlib.file_digest(stream, "sha256").hexdigest())
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, but the manifest names it; {REMEDY}") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as Arrow IPC: {error}") from None
    for name, wanted in {"tokens": f"large_list<item: {dtype}>", "text_bytes": "uint64"}.items():
        _same(path, f"type of {name}", wanted, _type(reader.schema, name))
    _same(path, "type of doc_id", "fixed_size_binary[16]", _type(reader.schema, "doc_id"))
    chunks = []
    for batch in batches:
        tokens, text_bytes = batch.column("tokens"), batch.column("text_bytes").to_numpy()
        chunks.append(Chunk(tokens.offsets.to_numpy(), tokens.values.to_numpy(), text_bytes, batch.column("doc_id")))
    _same(path, "documents", file.documents, sum(len(chunk.text_bytes) for chunk in chunks))
    _same(path, "tokens", file.tokens, sum(int(chunk.offsets[-1] - chunk.offsets[0]) for chunk in chunks))
    return chunks


def _type(schema: pa.Schema, name: str) -> str:
    index = schema.get_field_index(name)
    if index < 0:
        return "no such column"
    kind = schema.field(index).type
    # The name of a list's items, which writers choose, does not count.
    return f"large_list<item: {kind.value_type}>" if pa.types.is_large_list(kind) else str(kind)


def check_tokenizer(run: Path, manifest: Manifest) -> bytes:
    """The bytes of RUN/tokenizer.json, checked to be the tokenizer that made the shards."""
    path = run / "tokenizer.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    _same(path, "sha256", manifest.tokenizer_sha256, hashlib.sha256(content).hexdigest())
    return content
