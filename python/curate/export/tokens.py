"""Token shards as flat files of ids, or as the .bin and .idx files of Megatron-LM's indexed dataset.

    bin       the ids alone, little-endian, uint16 where the vocabulary has at most 65,536 tokens and else uint32: one
              array for numpy.memmap. Every document ends with the end-of-document id, as in the shards
    megatron  .bin: the ids likewise; ids of 32 bits count as int32, since the form has no uint32 (all are below 2^31).
              .idx: "MMIDIDX\\0\\0", uint64 1, uint8 code of the type; uint64 sequences and uint64 document indices;
              int32 length of each sequence in ids, int64 byte at which each begins, int64 0 … n: a document is a
              sequence

Beside each file of ids, PATH.order.parquet says which documents it holds, in their order: doc_id, source, epoch and
n_tokens. Documents are never cut.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.config import parse_yaml, validate
from curate.errors import ConfigError, DamageError
from curate.export.documents import REMEDY
from curate.export.order import Documents, mixed, one_after_the_other
from curate.export.settings import Limit
from curate.io.store import LocalStore, Store, Target
from curate.io.write import TableFile
from curate.mixture import Mixture
from curate.run.manifest import RunFolder
from curate.schema import CATEGORY, DOC_ID

FOLDERS = {"main": "tokens", "heldout": "heldout/tokens"}  # of a run, by lane
MAGIC = b"MMIDIDX\0\0"
CODES = {"uint16": 8, "uint32": 4}  # Megatron's numbers of uint16 and int32
ORDER = pa.schema({"doc_id": DOC_ID, "source": CATEGORY, "epoch": pa.uint32(), "n_tokens": pa.uint32()})
NOTED = 4096  # documents between two additions to the order
LONGEST = (1 << 31) - 1  # tokens of a sequence in an .idx file


class Shards:
    """The token shards of a run and the order in which they are written."""

    def __init__(self, folder: RunFolder, lane: str) -> None:
        """ConfigError where the run has no shards, DamageError where the manifest cannot be understood."""
        self.store, self.place = folder.products, FOLDERS[lane]
        path = f"{self.place}/manifest.json"
        try:
            self.manifest: dict[str, Any] = json.loads(self.store.read(path))
            self.files: list[dict[str, Any]] = self.manifest["files"]
            self.available = {name: int(entry["tokens"]) for name, entry in self.manifest["sources"].items()}
        except OSError:
            raise ConfigError(
                f"{folder.name}: this run has no token shards ({path} is not there); add the step tokenize to its"
                " recipe, or export its documents"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(path, f"is no manifest of token shards ({error!r}); {REMEDY}") from None
        self.dtype: Literal["uint16", "uint32"] = self.manifest["dtype"]
        self.mixture = _mixture(folder) if lane == "main" else None

    def runs(self) -> Iterator[Documents]:
        """All documents in the order in which they are written, as runs of one source."""
        if self.mixture is None:
            return one_after_the_other(list(self.available), self.read)
        return mixed(self.mixture, self.available, self.read)

    def read(self, source: str, epoch: int) -> Iterator[Documents]:
        """The documents of a source, batch after batch. Of a local store they are mapped, and take no memory."""
        for file in self.files:
            if file["source"] == source:
                for batch in self._batches(file):
                    tokens = batch.column("tokens")
                    starts, values = tokens.offsets.to_numpy(), tokens.values.to_numpy()
                    yield Documents(source, epoch, batch.column("doc_id"), starts, values)

    def _batches(self, file: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """The record batches of a shard; DamageError where it is not as the manifest says."""
        rel = f"{self.place}/{file['path']}"
        found = self.store.stat(rel)
        if found is None or found.bytes != file["bytes"]:
            there = "is not there" if found is None else f"has {found.bytes:,} bytes"
            raise DamageError(rel, f"{there}, where {file['bytes']:,} bytes were written; {REMEDY}")
        number = total = 0
        while number < total or not number:
            # Opened anew for each batch, so that no file stays open for each of many sources.
            try:
                with _handle(self.store, rel) as handle:
                    reader = pa.ipc.open_file(handle)
                    if not (total := reader.num_record_batches):
                        return
                    batch = reader.get_batch(number)
            except (OSError, pa.ArrowInvalid) as error:
                raise DamageError(rel, f"cannot be read ({error}); {REMEDY}") from None
            kind = pa.large_list(pa.uint16() if self.dtype == "uint16" else pa.uint32())
            if batch.schema.field("tokens").type.value_type != kind.value_type:
                raise DamageError(rel, f"holds {batch.schema.field('tokens').type}, not {self.dtype}; {REMEDY}")
            yield batch
            number += 1

    def sources(self, written: Mapping[str, "Tally"]) -> dict[str, dict[str, Any]]:
        """What each source holds and what of it was written: the part of the manifest that says what is left out."""
        facts = {}
        for name, entry in sorted(self.manifest["sources"].items()):
            tally = written.get(name) or Tally()
            unread = max(0, entry["documents"] - tally.documents)
            facts[name] = {
                "documents": entry["documents"], "tokens": entry["tokens"], "documents_written": tally.documents,
                "tokens_written": tally.tokens, "documents_left_out": unread,
            }  # fmt: skip
        return facts


class Tally:
    """Documents and tokens of a source that were written, repetitions included."""

    def __init__(self) -> None:
        self.documents = self.tokens = 0

    def add(self, run: Documents) -> None:
        """Count a run."""
        self.documents += run.documents
        self.tokens += run.tokens


def _handle(store: Store, rel: str) -> Any:
    """A file of a store: mapped where it lies on a disk."""
    return pa.memory_map(str(store.root / rel)) if isinstance(store, LocalStore) else store.open(rel)


def _mixture(folder: RunFolder) -> Mixture | None:
    """The run's mixture, if it has one."""
    try:
        text = folder.products.read("mixture.yaml").decode("utf-8", "replace")
    except OSError:
        return None
    document = parse_yaml(text, f"{folder.name}/mixture.yaml")
    return validate(Mixture, document.data, document)


class TokenFile:
    """A file of ids in the making, with its order and, of megatron, its index."""

    def __init__(self, store: Store, stem: str, form: str, dtype: Literal["uint16", "uint32"], limit: Limit) -> None:
        self.store, self.stem, self.form, self.dtype, self.limit = store, stem, form, np.dtype(dtype), limit
        self.target: Target = store.create(f"{stem}.bin")
        self.order = TableFile(store, f"{stem}.order.parquet")
        self.noted: list[Documents] = []  # documents, without their tokens, that the order and index have not yet
        self.lengths: list[npt.NDArray[np.int32]] = []
        self.rows = self.tokens = self.unwritten = 0

    @property
    def full(self) -> bool:
        """Whether the file ends here."""
        unit, amount = self.limit
        return {"documents": self.rows, "tokens": self.tokens, "bytes": self.tokens * self.dtype.itemsize}[
            unit
        ] >= amount

    def room(self, run: Documents) -> int:
        """How many documents of a run belong to this file: with the last of them it may reach its limit."""
        unit, amount = self.limit
        if unit == "documents":
            return min(run.documents, amount - self.rows)
        item = 1 if unit == "tokens" else self.dtype.itemsize
        ends = (self.tokens + run.starts[1:] - run.starts[0]) * item
        return min(run.documents, int(np.searchsorted(ends, amount, "left")) + 1)

    def write(self, run: Documents) -> None:
        """Append documents."""
        values = run.values[run.starts[0] : run.starts[-1]]
        data = np.ascontiguousarray(values, self.dtype.newbyteorder("<"))
        self.target.write(data.view(np.uint8))
        self.rows, self.tokens = self.rows + run.documents, self.tokens + len(data)
        self.noted.append(run._replace(values=data[:0]))
        self.unwritten += run.documents
        if self.unwritten >= NOTED:
            self._note()

    def _note(self) -> None:
        """Write which documents came last into the order and the index; rows are put together, a run may be one."""
        runs, self.noted, self.unwritten = self.noted, [], 0
        counts = [run.documents for run in runs]
        lengths = np.concatenate([np.diff(run.starts) for run in runs])
        if self.form == "megatron":
            if (longest := int(lengths.max(initial=0))) > LONGEST:
                raise ConfigError(f"--to megatron: a document has {longest:,} tokens, and the form takes {LONGEST:,}")
            self.lengths.append(lengths.astype("<i4"))
        names = sorted({run.source for run in runs})
        numbers = np.repeat([names.index(run.source) for run in runs], counts).astype("i4")
        columns = [
            pa.concat_arrays([run.ids for run in runs]),
            pa.DictionaryArray.from_arrays(numbers, pa.array(names)),
            pa.array(np.repeat([run.epoch for run in runs], counts).astype("u4")),
            pa.array(lengths, pa.uint32()),
        ]
        self.order.write(pa.RecordBatch.from_arrays(columns, schema=ORDER))

    def commit(self) -> dict[str, Any]:
        """Complete the file and those beside it; returns its entry of the manifest."""
        if self.noted:
            self._note()
        ids = self.target.commit(self.rows)
        order = self.order.close()
        assert order is not None
        beside = {"order": {"path": order.path, "bytes": order.bytes, "sha256": order.sha256}}
        if self.form == "megatron":
            beside["index"] = self._index()
        facts = {"documents": self.rows, "tokens": self.tokens, "bytes": ids.bytes, "sha256": ids.sha256}
        return {"path": ids.path, **facts, **beside}

    def _index(self) -> dict[str, Any]:
        """Write the .idx file, whose parts are laid out at the top of this module."""
        lengths = np.concatenate(self.lengths)
        ends = np.cumsum(lengths, dtype="<i8") * self.dtype.itemsize
        target = self.store.create(f"{self.stem}.idx")
        try:
            target.write(MAGIC + (1).to_bytes(8, "little") + bytes([CODES[self.dtype.name]]))
            target.write(self.rows.to_bytes(8, "little") + (self.rows + 1).to_bytes(8, "little"))
            starts = np.concatenate([[0], ends[:-1]]).astype("<i8")
            for part in (lengths, starts, np.arange(self.rows + 1, dtype="<i8")):
                target.write(part.view(np.uint8))
        except BaseException:
            target.abort()
            raise
        index = target.commit(0)
        return {"path": index.path, "bytes": index.bytes, "sha256": index.sha256}

    def abort(self) -> None:
        """Leave nothing of it."""
        self.target.abort()
        self.order.abort()
