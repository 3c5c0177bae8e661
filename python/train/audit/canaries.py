"""Canaries: made-up texts planted into the training tokens a known number of times, to see how often is enough.

A canary is a line with a secret of nine digits. `plant` copies a run's folder so that copies of the canaries stand at
the beginning of documents, each in another one; every canary of one level is repeated alike, and level 0 is planted
nowhere. After training, the exposure of a canary (Carlini 2019, "The Secret Sharer") is

    log2 |R| - log2 rank

of its secret among |R| secrets that might as well have been drawn, by their probability under the model: 1.44 on
average where the model does not know it, log2 |R| where it comes first.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from curate.config import Settings, setting, validate
from curate.errors import ConfigError, CurateError, DataError
from curate.tokenizer.model import Encoder, open_encoder
from train.cache import Cache
from train.checkpoint import Trained, write_file
from train.intervals import Estimate, mean, slope
from train.model import Model
from train.shardfiles import link, link_beside
from train.shards import check_tokenizer, open_shards

FILE = "canaries.json"
COLUMNS = ("canary", "repeats", "rank", "exposure", "nats")
DIGITS = 9
LINKED = ("tokenizer.json", "mixture.yaml", "heldout", "documents", "rejects", "pairs")  # of a run, beside its tokens
PLACES = 4096  # positions of candidates in one forward pass


class Canaries(Settings):
    """How many are planted, and how often."""

    each: int = setting(8, "canaries of each level", ge=2, le=1000)
    repeats: list[int] = setting([0, 1, 4, 16, 64], "levels: how often a canary is planted")
    candidates: int = setting(1024, "secrets that a canary's is ranked among, its own included", ge=2, le=100_000)
    seed: int = setting(1, "of the secrets and of the documents that carry them", ge=0)


class Canary(NamedTuple):
    """A canary's number, how often it was planted, and its text before the secret."""

    number: int
    repeats: int
    head: str


def canaries_of(settings: Canaries) -> list[Canary]:
    """All canaries; their heads are unlike, so that none tells of another."""
    levels = [times for times in sorted(settings.repeats) for _ in range(settings.each)]
    return [
        Canary(number, times, f"The number of locker {_digits(settings.seed, 'locker', number)[:6]} is ")
        for number, times in enumerate(levels)
    ]


def secret(settings: Canaries, canary: int, candidate: int) -> str:
    """The secret of a canary (candidate 0), or one that might have been drawn in its place."""
    return _digits(settings.seed, "secret", canary, candidate)


def _digits(*parts: object) -> str:
    digest = hashlib.sha256(":".join(map(str, ("canary", *parts))).encode()).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**DIGITS:0{DIGITS}}"


# -- planting ------------------------------------------------------------------------------------------------------


def plant(data: Path, out: Path, settings: Canaries) -> dict[str, Any]:
    """Make of the run `data` a folder `out` with canaries in its training tokens; all else is linked, or copied.

    Raises ConfigError where `out` is in use or there are fewer documents than copies, DataError for damaged shards.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out}: the folder is not empty; name another")
    if min(settings.repeats, default=-1) < 0:
        raise ConfigError(f"repeats: {settings.repeats}: give one number or more, none below 0")
    shards = open_shards(data / "tokens")
    check_tokenizer(data, shards.manifest)
    encoder, partial = open_encoder(data / "tokenizer.json"), out.with_name(f".{out.name}.planting")
    hosts = _hosts(sum(source.documents for source in shards.sources.values()), settings)
    texts = [f"{one.head}{secret(settings, one.number, 0)}.\n" for one in canaries_of(settings)]
    try:
        shutil.rmtree(partial, ignore_errors=True)
        link_beside(data, partial, LINKED)
        first, files = 0, []
        for file in shards.manifest.files:
            mine = {
                host - first: texts[which] for host, which in hosts.items() if first <= host < first + file.documents
            }
            first += file.documents
            place = Path("tokens", file.path)
            files.append(_write(data / place, partial / place, file.model_dump(), mine, encoder))
        write_file(partial / "tokens" / "manifest.json", _manifest(data, files))
        counts = {"canaries": len(texts), "planted": len(hosts), "documents": first}
        write_file(partial / FILE, json.dumps({"version": 1, **settings.model_dump(), **counts}, indent=1).encode())
        partial.rename(out)  # replaces an empty folder
    except OSError as error:
        raise CurateError(f"{out}: cannot be written: {error.strerror or error}") from None
    return {"out": str(out), **counts}


def _hosts(documents: int, settings: Canaries) -> dict[int, int]:
    """By document, in the order of the manifest, the number of the canary that it carries."""
    wanted = [one.number for one in canaries_of(settings) for _ in range(one.repeats)]
    if len(wanted) > documents:
        raise ConfigError(
            f"{len(wanted):,} copies of canaries would be planted, each in another document, and there are "
            f"{documents:,} documents; lower `each` or `repeats`"
        )
    chosen = np.random.default_rng(settings.seed).choice(documents, len(wanted), replace=False).tolist()
    return dict(zip(chosen, wanted, strict=True))


def _write(path: Path, to: Path, entry: dict[str, Any], texts: dict[int, str], encoder: Encoder) -> dict[str, Any]:
    """Copy a shard with the texts put before their documents; returns its entry in the manifest."""
    if not texts:
        link(path, to)
        return entry
    to.parent.mkdir(parents=True, exist_ok=True)
    order = sorted(texts)
    ids = dict(zip(order, encoder.encode_lists([texts[row] for row in order]), strict=True))
    extra, first = 0, 0
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    with pa.ipc.new_file(str(to), reader.schema) as writer:
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            here = {row - first: row for row in order if first <= row < first + batch.num_rows}
            first += batch.num_rows
            extra += sum(len(ids[row]) for row in here.values())
            writer.write_batch(_with_texts(batch, {at: (ids[row], texts[row]) for at, row in here.items()}))
    with to.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    more = sum(len(text.encode()) for text in texts.values())
    counts = {"tokens": entry["tokens"] + extra, "text_bytes": entry["text_bytes"] + more}
    return {**entry, **counts, "bytes": to.stat().st_size, "sha256": digest}


def _with_texts(batch: pa.RecordBatch, texts: dict[int, tuple[list[int], str]]) -> pa.RecordBatch:
    """A record batch with tokens put before those of some rows."""
    if not texts:
        return batch
    columns = {name: batch.column(name).to_pylist() for name in ("tokens", "n_tokens", "text_bytes")}
    for row, (ids, text) in texts.items():
        columns["tokens"][row] = [*ids, *columns["tokens"][row]]
        columns["n_tokens"][row] += len(ids)
        columns["text_bytes"][row] += len(text.encode())
    for name, values in columns.items():
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, batch.schema.field(name), pa.array(values, batch.schema.field(name).type))
    return batch


def _manifest(data: Path, files: Sequence[dict[str, Any]]) -> bytes:
    """The manifest of `data` with other files, and the counts of sources to match."""
    found = json.loads((data / "tokens" / "manifest.json").read_text(encoding="utf-8"))
    sources = {
        name: {key: sum(file[key] for file in files if file["source"] == name) for key in counts}
        for name, counts in found["sources"].items()
    }
    return json.dumps({**found, "files": list(files), "sources": sources}, indent=1).encode()


# -- exposure ------------------------------------------------------------------------------------------------------


def planted_in(data: Path) -> Canaries | None:
    """What was planted in a run's folder, or None. Raises DataError where that cannot be read."""
    path = data / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        facts = {key: found[key] for key in Canaries.model_fields}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not what `train audit plant` wrote: {error}") from None
    return validate(Canaries, facts, name=str(path))


def exposures(trained: Trained, settings: Canaries, encoder: Encoder) -> Iterator[dict[str, Any]]:
    """By canary: number, repeats, rank of its secret (1: the likeliest), exposure in bits, nats of the secret."""
    end = trained.facts["end_of_document"]
    for one in canaries_of(settings):
        texts = [f"{one.head}{secret(settings, one.number, n)}." for n in range(settings.candidates)]
        nats = continuation_nats(trained.model, encoder.encode_lists(texts), end)
        # Ties count half, and an equal secret drawn twice is one of them.
        rank = 1 + float((nats[1:] < nats[0]).sum()) + float((nats[1:] == nats[0]).sum()) / 2
        bits = math.log2(settings.candidates) - math.log2(rank)
        yield {"canary": one.number, "repeats": one.repeats, "rank": rank, "exposure": bits, "nats": float(nats[0])}


@torch.no_grad()
def continuation_nats(model: Model, texts: Sequence[list[int]], end_of_document: int) -> np.ndarray:
    """-ln p of each text after what all of them share at the beginning, which is computed once."""
    least, most = min(texts), max(texts)
    shared = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), len(least))
    shared = min(shared, min(map(len, texts)) - 1)
    prompt = [end_of_document, *texts[0][:shared]]
    rest = [list(text[shared:]) for text in texts]
    longest = max(map(len, rest))
    first = Cache(model.shape, 1, len(prompt) + longest, model.dtype, model.device)
    if shared:
        model(torch.tensor([prompt[:-1]], device=model.device), cache=first)
    found = []
    rows = max(1, PLACES // longest)
    for start in range(0, len(rest), rows):
        part = rest[start : start + rows]
        tokens = np.array([[prompt[-1], *ids, *[0] * (longest - len(ids))] for ids in part])
        real = torch.arange(longest)[None, :] < torch.tensor([len(ids) for ids in part])[:, None]
        x_BTC = model(torch.from_numpy(tokens[:, :-1]).to(model.device), cache=first.keep([0] * len(part))).x_BTC
        target_BT = torch.from_numpy(tokens[:, 1:]).to(model.device)
        nats_BT = model.head.cross_entropy(x_BTC, target_BT, 1024, 0.0, None)[1]
        found.append((nats_BT.cpu().double() * real).sum(1))
    return np.asarray(torch.cat(found).numpy())


def by_repeats(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By level: repeats, canaries, the mean exposure with its interval."""
    found = []
    for level in sorted({row["repeats"] for row in rows}):
        values = np.array([row["exposure"] for row in rows if row["repeats"] == level])
        found.append({"repeats": level, "exposure": mean(values, np.arange(len(values)))})
    return found


def rise(rows: Sequence[dict[str, Any]]) -> Estimate:
    """Bits of exposure for each doubling of 1 + repeats."""
    x = np.log2([1.0 + row["repeats"] for row in rows])
    return slope(x, np.array([row["exposure"] for row in rows]), np.arange(len(rows)))
