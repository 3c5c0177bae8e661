"""`train audit collapse`: what becomes of models that learn from texts of models, generation after generation.

Generation 0 learns from real documents. Every later one learns from as many documents that the one before it wrote
(arXiv 2305.17493), of which a part `keep` is real ones in place of them (1: nothing is replaced, and the texts of all
generations so far stand beside, as in arXiv 2404.01413). The initial weights are those of the seed each time.

    OUT/keep-K/generation-G/data     tokens that it learned from     OUT/collapse.json, collapse.html   measures, curves
    OUT/keep-K/generation-G/model    the model                       OUT/keep-K/generation-G/documents  what it wrote

What a model wrote is Parquet of DOCUMENT rows with `synthetic` true, `generator` (the digest of the weights) and
`prompt_hash` (SHA-256 of the prompt, here the empty text), so that no later use can take it for real text.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import console, schema
from curate.config import Settings, setting
from curate.errors import ConfigError
from curate.io.lock import FolderLock
from curate.tokenizer.model import open_encoder
from train import checkpoint
from train.audit.collapse_page import page
from train.audit.diversity import diversity
from train.audit.spans import document_tokens
from train.audit.tried import decode
from train.config import TrainSettings
from train.evaluation.bits_per_byte import held_out
from train.generate import Sampling, generate
from train.intervals import Estimate, mean, plain
from train.machine import pick_device, set_threads
from train.parquet import write_table
from train.shardfiles import write_shards
from train.shards import Shards, check_tokenizer, open_shards
from train.train import train

SOURCE = "documents"


class Collapse(Settings):
    """How many generations, and which part of real data each keeps."""

    generations: int = setting(4, "models in a line, the first of real documents", ge=2, le=50)
    keep: list[float] = setting([0.0, 1.0], "parts of the real documents that every generation keeps; a line each")
    documents: int = setting(2000, "of each generation", unit="documents", ge=10)
    seeds: int = setting(1, "lines of each kind", ge=1, le=20)
    length: int = setting(0, "tokens of a written document at most; 0: a row of the model", unit="tokens", ge=0)
    temperature: float = setting(1.0, "of what is written", gt=0)
    rows: int = setting(64, "documents written at once", ge=1)


class Line(NamedTuple):
    """One line of generations: its folder, the part of real data that it keeps, its seed."""

    folder: Path
    keep: float
    seed: int


class Real(NamedTuple):
    """The real documents of a run: its shards, some of the documents as tokens (without the end) and as text."""

    data: Path
    shards: Shards
    ids: list[list[int]]
    texts: list[str]


def collapse(
    data: Path, out: Path, settings: Collapse, training: TrainSettings, *, take_over: bool = False
) -> dict[str, Any]:
    """Run the lines, or go on with them; writes collapse.json and collapse.html and returns what the former holds.

    Raises ConfigError where the run has no held-out documents or fewer real ones than asked for.
    """
    if any(not 0 <= part <= 1 for part in settings.keep) or not settings.keep:
        raise ConfigError(f"keep: {settings.keep}: parts are from 0 to 1, and at least one is needed")
    with FolderLock(out, "train audit collapse", take_over) as lock:
        for warning in lock.warnings:
            console.err(f"warning: {warning}")
        real = _real(data, settings)
        _check_same(out, settings, training, real.shards.fingerprint)
        rows = [
            {"keep": line.keep, "seed": line.seed, "generation": number, **found}
            for line in _lines(out, settings)
            for number, found in enumerate(_generations(line, real, settings, training))
        ]
        result = {"settings": settings.model_dump(), "generations": rows, "means": means(rows)}
        data_ = plain(result)
        checkpoint.write_file(out / "collapse.json", json.dumps(data_, indent=1).encode())
        checkpoint.write_file(out / "collapse.html", page(rows, data_, MEASURES).encode())
    return result


def _lines(out: Path, settings: Collapse) -> list[Line]:
    seeds = range(1, settings.seeds + 1)
    return [Line(out / f"keep-{keep:g}-{seed}", keep, seed) for keep in settings.keep for seed in seeds]


def _check_same(out: Path, settings: Collapse, training: TrainSettings, data: str) -> None:
    """Note what the lines follow from. Raises ConfigError where the folder holds others."""
    path = out / "asked.json"
    now = json.loads(json.dumps({"data": data, **settings.model_dump(), "training": training.model_dump()}))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        # More generations go on with the lines that there are.
        differs = [key for key in now if before.get(key) != now[key] and key not in ("generations", "keep", "seeds")]
        if differs:
            raise ConfigError(f"--out {out}: it holds lines of another {', '.join(differs)}; name another folder")
    checkpoint.write_file(path, json.dumps(now).encode())


def _real(data: Path, settings: Collapse) -> Real:
    shards = open_shards(data / "tokens")
    check_tokenizer(data, shards.manifest)
    if not (data / "heldout" / "tokens" / "manifest.json").exists():
        raise ConfigError(f"{data}: there are no held-out documents to measure by; give the recipe a `holdout` step")
    places = [(source, number) for source in shards.sources.values() for number in range(source.documents)]
    if len(places) < settings.documents:
        raise ConfigError(
            f"{data}: {len(places):,} documents, and {settings.documents:,} are asked for; lower `documents`"
        )
    chosen = np.random.default_rng(1).permutation(len(places))[: settings.documents]
    ids = [document_tokens(*places[place])[:-1].tolist() for place in chosen.tolist()]
    return Real(data, shards, ids, _texts(data, ids, shards.manifest.vocab_size))


def _texts(data: Path, ids: Sequence[Sequence[int]], vocab_size: int) -> list[str]:
    encoder = open_encoder(data / "tokenizer.json")
    return [text.decode("utf-8", errors="replace") for text in decode(encoder, ids, vocab_size)]


def _generations(line: Line, real: Real, settings: Collapse, training: TrainSettings) -> Iterator[dict[str, Any]]:
    """What is measured of each generation of a line; those that are finished are read."""
    written: list[list[list[int]]] = []
    for number in range(settings.generations):
        folder = line.folder / f"generation-{number}"
        ids = _learned_from(line, real, settings, written)
        _write_data(folder / "data", real, ids, line)
        model, found = folder / "model", folder / "measured.json"
        if not found.exists():
            console.err(f"keep {line.keep:g}, seed {line.seed}, generation {number}")
            train(folder / "data", model, training.model_copy(update={"seed": line.seed}))
        new = _written(folder, line, real, settings, number)
        if not found.exists():
            texts = _texts(real.data, new, real.shards.manifest.vocab_size)
            set_threads(training.threads)
            opened = checkpoint.open_model(model, pick_device(training.device))
            bits = held_out(opened, folder / "data", baselines=False)["all"]
            told = {"bits_per_byte": bits["bits_per_byte"]["model"], **diversity(texts, real.texts)}
            checkpoint.write_file(found, json.dumps(told).encode())
        written.append(new)
        yield json.loads(found.read_text(encoding="utf-8"))


def _learned_from(line: Line, real: Real, settings: Collapse, written: list[list[list[int]]]) -> list[list[int]]:
    """The documents that the next generation learns from."""
    if not written:
        return real.ids
    kept = real.ids[: round(line.keep * settings.documents)]
    if line.keep == 1:
        return kept + [ids for one in written for ids in one]
    return kept + written[-1][: settings.documents - len(kept)]


def _write_data(folder: Path, real: Real, ids: list[list[int]], line: Line) -> None:
    """The tokens that a generation learns from, and links to the held-out ones and the tokenizer."""
    if (folder / "tokens" / "manifest.json").exists():
        return
    texts = _texts(real.data, ids, real.shards.manifest.vocab_size)
    write_shards(folder, real.data, SOURCE, ids, [len(text.encode()) for text in texts], real.shards.manifest)


def _written(folder: Path, line: Line, real: Real, settings: Collapse, number: int) -> list[list[int]]:
    """The documents that a model writes, as token ids; kept as Parquet, some at a time."""
    trained: checkpoint.Trained | None = None
    ids: list[list[int]] = []
    for start in range(0, settings.documents, settings.rows):
        path = folder / "documents" / f"{start:08}.parquet"
        if not path.exists():
            trained = trained or checkpoint.open_model(folder / "model", pick_device("auto"))
            console.passing(f"generation {number}: {start:,} of {settings.documents:,} documents written")
            count = min(settings.rows, settings.documents - start)
            new = _write(trained, count, settings, seed=hash_of(line.seed, number, start))
            write_table(path, _table(new, trained, real, f"{folder.name}-{line.seed}", start))
        ids += pq.read_table(path, columns=["token_ids"]).column(0).to_pylist()
    return ids


def hash_of(*parts: int) -> int:
    """A seed from numbers."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, parts)).encode()).digest()[:4], "big")


def _write(trained: checkpoint.Trained, count: int, settings: Collapse, seed: int) -> list[list[int]]:
    """Documents from an empty prompt, at the temperature, with no other bounds than their length."""
    length = settings.length or trained.model.shape.sequence_length - 1
    sampling = Sampling(tokens=length, temperature=settings.temperature, top_p=1.0, seed=seed)
    new: list[list[int]] = [[] for _ in range(count)]
    for step in generate(trained.model, [[] for _ in range(count)], trained.facts["end_of_document"], sampling):
        for row, token in step.items():
            new[row].append(token)
    return new


def _table(ids: list[list[int]], trained: checkpoint.Trained, real: Real, name: str, start: int) -> pa.Table:
    """DOCUMENT rows of what a model wrote, its token ids beside."""
    texts, n = _texts(real.data, ids, real.shards.manifest.vocab_size), len(ids)
    generator, prompt = checkpoint.digest_of(trained.folder), hashlib.sha256(b"").hexdigest()
    columns = {
        "doc_id": pa.array(
            [schema.doc_id(f"synthetic/{generator}/{name}", start + i) for i in range(n)], pa.binary(16)
        ),
        "source": pa.array(["synthetic"] * n).dictionary_encode(),
        "text": pa.array(texts, pa.large_string()),
        "synthetic": pa.array([True] * n),
        "n_copies": pa.array([1] * n, pa.uint32()),
        "generator": pa.array([generator] * n),
        "prompt_hash": pa.array([prompt] * n),
        "token_ids": pa.array(ids, pa.large_list(pa.uint32())),
    }
    return pa.table(schema.conform(pa.RecordBatch.from_pydict(columns), schema.DOCUMENT))


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By `keep` and generation the mean over seeds of the measures that tell of collapse, with intervals."""
    found = []
    for keep, number in sorted({(row["keep"], row["generation"]) for row in rows}):
        some = [row for row in rows if (row["keep"], row["generation"]) == (keep, number)]
        found.append({"keep": keep, "generation": number, **{key: over(some, key) for key in MEASURES}})
    return found


MEASURES = {
    "bits_per_byte": "bits per byte of real held-out text",
    "distinct_2": "distinct pairs of words",
    "distinct_4": "distinct runs of four words",
    "in_copies": "documents with a near copy",
    "distance_2": "distance of pairs of words to real text, bits",
}


def value_of(row: dict[str, Any], key: str) -> float:
    """A measure of a generation by its name in MEASURES."""
    name, _, n = key.rpartition("_")
    return float(row[name][n]) if n.isdigit() else float(row[key])


def over(rows: Sequence[dict[str, Any]], key: str) -> Estimate:
    """The mean of a measure over seeds."""
    values = np.array([value_of(row, key) for row in rows])
    return mean(values, np.arange(len(values)))


def table(result: dict[str, Any]) -> str:
    """The means as lines of text."""
    rows = [
        [f"{one['keep']:g}", str(one["generation"]), *(_cell(one[key]) for key in MEASURES)] for one in result["means"]
    ]
    heads = ["bits a byte", "distinct 2", "distinct 4", "in copies", "distance 2"]
    return console.table(["real kept", "generation", *heads], rows)


def _cell(found: Estimate) -> str:
    return f"{found.value:.4f}" if found.low != found.low else f"{found.value:.4f} ±{(found.high - found.value):.4f}"
