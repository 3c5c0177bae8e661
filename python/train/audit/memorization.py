"""`train audit memorization`: which spans of its training text a model writes by heart, and which of them and why.

    OUT/audit.json      every rate with its interval        OUT/spans.parquet   a row a span that was tried
    OUT/canaries.parquet  a row a canary, where `train audit plant` made the data

Spans of training documents (spans.py) go through one teacher-forced pass (forced.py); spans of held-out documents, and
the same spans under a model that never saw them, stand beside. Spans that compress below `low_entropy` of their bytes
are boiler-plate that any model continues, and are counted apart. The command may be stopped, and goes on.
"""

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.config import Settings, setting
from curate.errors import ConfigError, DataError
from curate.tokenizer.model import open_encoder
from train import checkpoint
from train.audit import canaries
from train.audit.attacks import attack, scores
from train.audit.forced import Drawing, Forced, check_length, extracted, known
from train.audit.groups import Outcome, all_groups, slopes
from train.audit.history import history
from train.audit.spans import Sampled, sample
from train.audit.tried import Known, Models, Tried, decode, look_up, passes, span_table, try_spans
from train.evaluation.documents import check_tokens
from train.intervals import Estimate, Ints, mean, plain, proportion
from train.machine import pick_device, set_threads
from train.packing import Packed, pack
from train.parquet import write_table
from train.parts import Parts
from train.shards import Shards, open_shards

DRAWS = (1, 10, 100, 1000, 10_000)
CHANCES = (0.1, 0.5, 0.9)


class Memorization(Settings):
    """Which spans are tried, and how."""

    spans: int = setting(1000, "of training, and as many held-out ones; 0 for one of every document", ge=0)
    prefix: int = setting(50, "what the model is given", unit="tokens", ge=1)
    suffix: int = setting(50, "what it has to write", unit="tokens", ge=1)
    prefixes: list[int] = setting([16, 32, 50, 100, 200], "lengths of the prefix that are compared", unit="tokens")
    temperature: float = setting(1.0, "of drawn continuations", gt=0)
    top_k: int = setting(40, "drawn continuations take one of the k likeliest tokens; 0 for all", ge=0)
    low_entropy: float = setting(0.4, "spans that zlib makes smaller than this part are counted apart", ge=0, le=1)
    seed: int = setting(1, "of the choice of spans", ge=0)


class Asked(NamedTuple):
    """What is audited, on which data, against what."""

    models: Models
    shards: Shards
    heldout: Shards | None
    data: Path
    copies: Path
    settings: Memorization

    @property
    def room(self) -> int:
        """Tokens that a prefix may have in the rows of the models."""
        models = filter(None, (self.models.own, self.models.other))
        return min(one.model.shape.sequence_length for one in models) - self.settings.suffix

    @property
    def prefixes(self) -> list[int]:
        """Lengths of the prefix that are compared: those for which there is room."""
        return sorted({length for length in self.settings.prefixes if length <= self.room})


def open_models(
    folder: Path, data: Path, reference: Path | None, copies: Path | None, settings: Memorization, device: str
) -> Asked:
    """Everything that is read, checked. Raises ConfigError and DataError naming what does not fit."""
    where = pick_device(device)
    own, shards = checkpoint.open_model(folder, where), open_shards(data / "tokens")
    if not own.model.shape.causal:
        raise ConfigError(f"{folder}: a model of masked diffusion does not write on from a prefix")
    check_tokens(own, shards.manifest, data / "tokens")
    other = checkpoint.open_model(reference, where) if reference else None
    if other is not None:
        check_tokens(other, shards.manifest, data / "tokens")
        if other.facts.get("data") == shards.fingerprint:
            raise ConfigError(
                f"--reference {reference}: it was trained on the same tokens; name a model that never saw them"
            )
    if copies is not None and not (copies / "documents").is_dir():
        raise ConfigError(
            f"--copies {copies}: no documents/ here; name the folder of a run that compared the documents"
        )
    place = data / "heldout" / "tokens"
    heldout = open_shards(place) if (place / "manifest.json").exists() else None
    encoder = open_encoder(checkpoint.tokenizer_of(own.folder))
    drawing = Drawing(settings.temperature, settings.top_k)
    models = Models(own, other, encoder, shards.manifest.vocab_size, settings.suffix, drawing)
    asked = Asked(models, shards, heldout, data, copies or data, settings)
    if min(settings.prefixes, default=1) < 1:
        raise ConfigError(f"prefixes: {settings.prefixes}: each must be at least 1")
    for one in filter(None, (own, other)):
        check_length(one.model, settings.prefix + settings.suffix)
    return asked


def memorization(
    folder: Path, data: Path, out: Path, settings: Memorization, reference: Path | None = None,
    copies: Path | None = None, device: str = "auto", threads: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Audit the checkpoint `folder` of a run on `data`; writes OUT and returns what audit.json holds, as Estimates.

    reference: a model that never saw the data. copies: a run that compared its documents with each other; by default
    `data` itself, whose copies did not reach training. Raises ConfigError and DataError as `open_models` does.
    """
    set_threads(threads)
    asked = open_models(folder, data, reference, copies, settings, device)
    told, parts = history(asked.models.own, asked.shards), Parts(out, _facts(asked))
    length, seed = settings.prefix + settings.suffix, settings.seed
    inside = sample(told.packed, told.read, length, settings.spans, seed)
    if not len(inside.spans.tokens):
        raise DataError(
            f"{data}/tokens: of {inside.documents:,} documents none that training read has {length} tokens in a row; "
            "give a shorter prefix or suffix"
        )
    tried = try_spans(asked.models, parts, "train", asked.shards, inside)
    outside = sample(_heldout(asked), None, length, settings.spans, seed)
    beside = try_spans(asked.models, parts, "heldout", asked.heldout, outside)
    longest = max([settings.prefix, *asked.prefixes]) + settings.suffix
    swept = sample(told.packed, told.read, longest, settings.spans, seed)
    rows = parts.arrays("canaries", lambda: _canaries(asked))
    found = look_up(tried, asked.shards, data, asked.copies)
    of_heldout = look_up(beside, asked.shards, data, asked.copies)
    unknown = int(np.isnan(found.facts["n_copies"]).sum())
    result = {
        "checkpoint": str(asked.models.own.folder),
        "step": told.steps,
        "started_from_a_model": bool(asked.models.own.facts.get("init")),
        "reference": str(asked.models.other.folder) if asked.models.other else None,
        "copies": str(asked.copies),
        "copies_trained_on": asked.copies != data,
        "settings": settings.model_dump(),
        "documents": inside.documents,
        "left_out": {"short": inside.short, "unread": inside.unread, "copies_unknown": unknown},
        **_rates(tried, beside, found, settings, told.steps),
        "sweep": _sweep(asked, parts, swept),
        "prefixes_left_out": sorted(set(settings.prefixes) - set(asked.prefixes)),
        "membership": _membership(tried, beside, found.clusters),
        "canaries": _exposure(asked, rows),
    }
    table = pa.concat_tables([span_table(tried, found, False), span_table(beside, of_heldout, True)])
    write_table(out / "spans.parquet", table)
    if rows["rank"].size:
        write_table(out / "canaries.parquet", pa.table(rows))
    checkpoint.write_file(out / "audit.json", json.dumps(plain(result), indent=1).encode())
    parts.remove()
    return result


def _facts(asked: Asked) -> dict[str, Any]:
    """What the passes depend on."""
    models = [checkpoint.digest_of(one.folder) for one in (asked.models.own, asked.models.other) if one]
    data = [asked.shards.fingerprint, asked.heldout.fingerprint if asked.heldout else ""]
    planted = canaries.planted_in(asked.data)
    facts = {"version": 1, "models": models, "data": data, "canaries": planted.model_dump() if planted else None}
    return {**facts, **asked.settings.model_dump()}


def _heldout(asked: Asked) -> list[Packed]:
    if asked.heldout is None:
        return []
    length, end = asked.models.own.settings.sequence_length, asked.shards.manifest.end_of_document
    return [pack(source, length, end) for source in asked.heldout.sources.values() if source.documents]


def _outcome(own: Forced, other: Forced | None, clusters: Ints) -> Outcome:
    reference = None if other is None else np.asarray(other.correct.all(axis=1))
    return Outcome(np.asarray(own.correct.all(axis=1)), own.correct.mean(axis=1), reference, clusters)


def _rates(tried: Tried, beside: Tried, found: Known, settings: Memorization, steps: int) -> dict[str, Any]:
    """Discoverable extraction, by draws, and by groups; spans of low entropy apart."""
    low, ordinary = tried.ratio < settings.low_entropy, beside.ratio >= settings.low_entropy
    whole = _outcome(tried.own, tried.other, found.clusters)
    outcome = whole.take(~low)
    outside = _outcome(beside.own, None, np.arange(len(ordinary))).take(ordinary)
    facts = {name: values[~low] for name, values in found.facts.items()}
    names = [name for name, apart in zip(tried.sources, low, strict=True) if not apart]
    matched = known(tried.own.correct)[~low].astype(np.float64)
    return {
        "discoverable": {
            **outcome.data(),
            "tokens_known": mean(matched, outcome.clusters),
            "heldout": outside.data(),
        },
        "low_entropy": whole.take(low).data(),
        "drawn": [
            _drawn(n, chance, (tried, ~low, outcome.clusters), (beside, ordinary, outside.clusters))
            for n in DRAWS
            for chance in CHANCES
        ],
        "groups": all_groups(facts, names, steps, outcome),
        "slopes": slopes(facts, outcome),
    }


Some = tuple[Tried, npt.NDArray[np.bool_], Ints]  # spans, which of them count, and the clusters of these


def _drawn(n: int, chance: float, inside: Some, outside: Some) -> dict[str, Any]:
    """The share of spans that n draws give with a chance of at least `chance`."""

    def share(found: Forced | None, some: Some) -> Estimate | None:
        return None if found is None else proportion(extracted(found.drawn[some[1]], n) >= chance, some[2])

    return {
        "draws": n,
        "chance": chance,
        "extracted": share(inside[0].own, inside),
        "reference": share(inside[0].other, inside),
        "heldout": share(outside[0].own, outside),
    }


def _sweep(asked: Asked, parts: Parts, swept: Sampled) -> list[dict[str, Any]]:
    """The rate by length of the prefix: the same suffixes of the same documents after more or less text."""
    settings, models, tokens = asked.settings, asked.models, swept.spans.tokens
    texts = decode(models.encoder, tokens, models.vocab_size)
    low = np.array([len(zlib.compress(text)) < settings.low_entropy * len(text) for text in texts], bool)
    tokens = tokens[~low]
    found = []
    for length in asked.prefixes:
        cut, name = tokens[:, tokens.shape[1] - length - settings.suffix :], f"prefix-{length}"
        own = passes(parts, f"{name}-own", models.own, cut, settings.suffix)
        other = passes(parts, f"{name}-reference", models.other, cut, settings.suffix) if models.other else None
        found.append({"prefix": length, **_outcome(own, other, np.arange(len(tokens))).data()})
    return found


def _membership(tried: Tried, beside: Tried, clusters: Ints) -> dict[str, Any]:
    """AUC and true positive rate of every attack; empty without held-out documents."""
    if len(beside.doc_ids) < 2:
        return {}
    inside, outside = (scores(one.own, one.zlib_bytes, one.other) for one in (tried, beside))
    return attack(inside, outside, clusters)


def _canaries(asked: Asked) -> dict[str, npt.NDArray[Any]]:
    planted = canaries.planted_in(asked.data)
    rows = [] if planted is None else list(canaries.exposures(asked.models.own, planted, asked.models.encoder))
    return {key: np.array([row[key] for row in rows], np.float64) for key in canaries.COLUMNS}


def _exposure(asked: Asked, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any] | None:
    planted = canaries.planted_in(asked.data)
    if planted is None:
        return None
    rows = [{key: float(values[row]) for key, values in arrays.items()} for row in range(len(arrays["rank"]))]
    return {
        "candidates": planted.candidates,
        "levels": canaries.by_repeats(rows),
        "bits_a_doubling": canaries.rise(rows),
    }
