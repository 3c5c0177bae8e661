"""Audit of deduplication: copies planted at known similarity into the user's own documents, found or missed.

    curate audit dedup data/ --out audit/

Takes a sample of documents, makes of each a copy that is edited, shifted, wrapped in other text or re-cased, runs
near_dedup over all of them, and compares the share found with 1 - (1 - J^rows)^bands. The Jaccard similarity J of a
planted pair is counted here, by sets of strings, so that words, hashes and signatures are all under test.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curate import schema
from curate.audits.sample import WORD, sample
from curate.dedup.banding import found_share
from curate.io.inputs import InputSettings

TARGETS = (0.7, 0.8, 0.9, 0.95)  # similarities that edited copies aim at
MIN_WORDS = 80  # in shorter texts one edit changes too much for these similarities
EDGES = (0.0, 0.65, 0.75, 0.85, 0.93, 0.98, 1.01)  # of the ranges of similarity that results are shown by


class Planted(NamedTuple):
    """A document, its copy, and their exact similarity; ids are those of the files that the audit writes."""

    kind: str
    original: bytes
    copy: bytes
    jaccard: float


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    """The word n-grams of a text, lower case."""
    words = WORD.findall(text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def similarity(a: str, b: str, n: int) -> float:
    """The Jaccard similarity of the word n-grams of two texts, 0..1."""
    one, other = shingles(a, n), shingles(b, n)
    return len(one & other) / max(1, len(one | other))


def plant(texts: Iterable[str], n: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(kind, text, its copy): one copy of each text, the kinds in turn.

    edited: words replaced at random; shifted: a beginning removed, new words at the end; wrapped: new words around it;
    re-cased: other letter case and spaces, which must not matter. The number in a kind is the similarity aimed at.
    """
    rng = random.Random(seed)
    kinds = [*(f"edited {t}" for t in TARGETS), "shifted 0.8", "shifted 0.9", "wrapped 0.8", "wrapped 0.9", "re-cased"]
    for place, text in enumerate(texts):
        kind = kinds[place % len(kinds)]
        words = text.split(" ")
        what, _, wanted = kind.partition(" ")
        if what == "re-cased":
            yield kind, text, re.sub(r" +", "  ", text.upper() if place % 2 else text.title())
            continue
        target = float(wanted)
        # Of w shingles each lacks `lost` of the other: J = (w - lost) / (w + lost).
        lost = len(words) * (1 - target) / (1 + target)
        if what == "edited":
            for at in rng.sample(range(len(words)), max(1, min(len(words), round(lost / n)))):
                words[at] = _fresh(rng, 1)[0]
        elif what == "shifted":
            words = [*words[round(lost) :], *_fresh(rng, round(lost))]
        else:
            around = round(len(words) * (1 - target) / target / 2)
            words = [*_fresh(rng, around), *words, *_fresh(rng, around)]
        yield kind, text, " ".join(words)


def _fresh(rng: random.Random, count: int) -> list[str]:
    """Words that stand nowhere else, so that they share no shingle."""
    return [f"planted{rng.randrange(10**9)}" for _ in range(count)]


def write(texts: list[str], n: int, seed: int, path: Path) -> list[Planted]:
    """Write the Parquet file of originals and copies. Ids are hashes, so that neither of a pair always comes first."""
    planted, rows = [], []
    for place, (kind, text, copy) in enumerate(plant(texts, n, seed)):
        ids = [hashlib.sha256(f"{seed} {place} {side}".encode()).digest()[:16] for side in ("original", "copy")]
        planted.append(Planted(kind, ids[0], ids[1], similarity(text, copy, n)))
        rows += [(ids[0], text), (ids[1], copy)]
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array([row[0] for row in rows], schema.DOC_ID), pa.array([row[1] for row in rows], pa.large_string())]
    pq.write_table(pa.table(columns, names=["doc_id", "text"]), path, row_group_size=1000)
    return planted


def audit_dedup(
    inputs: list[InputSettings],
    config: dict[str, Any],
    out: Path,
    *,
    size: int,
    workers: int,
    seed: int,
    memory: int | None = None,
) -> dict[str, Any]:
    """Plant copies, deduplicate, and compare: recall by similarity and by kind beside theory, and precision.

    `config` are settings of near_dedup; `out` gets planted.parquet and run/. Returns bands, rows, documents (pairs
    planted), reported_pairs, precision (the share of reported pairs that are as similar as asked for; None without
    pairs) and lines: for each range of similarity and each kind the pairs planted and found, recall and theory (0..1),
    and mean_jaccard. Raises the first failure of the run.
    """
    from curate.run import driver
    from curate.run.recipe import single_stage
    from curate.stages.near_dedup import NearDedup

    settings = NearDedup.model_validate({**config, "pairs": True})
    bands, rows = settings.banding()
    n, least = settings.ngram, settings.min_jaccard if settings.verify else 0.0
    planted = write(sample(inputs, size, seed, MIN_WORDS), n, seed, out / "planted.parquet")
    entry = InputSettings(path=str(out / "planted.parquet"), trust_ids=True)
    recipe = single_stage("near_dedup", {**config, "pairs": True}, [entry], None)
    outcome = driver.run(recipe, out / "run", workers=workers, memory=memory, update=True)
    if outcome.failures:
        raise outcome.failures[0]
    found = _pairs(out / "run")
    texts = dict(zip(*pq.read_table(out / "planted.parquet").to_pydict().values(), strict=True))
    right = sum(similarity(texts[a], texts[b], n) >= max(least - 1e-9, 1e-9) for a, b in found)

    def line(name: str, chosen: list[Planted]) -> dict[str, Any]:
        seen = sum((min(p.original, p.copy), max(p.original, p.copy)) in found for p in chosen)
        theory = [found_share(p.jaccard, bands, rows) * (p.jaccard >= least) for p in chosen]
        return {"pairs": name, "planted": len(chosen), "found": seen, "recall": round(seen / len(chosen), 4),
                "theory": round(sum(theory) / len(chosen), 4),
                "mean_jaccard": round(sum(p.jaccard for p in chosen) / len(chosen), 4)}  # fmt: skip

    by_similarity = [[p for p in planted if low <= p.jaccard < high] for low, high in itertools.pairwise(EDGES)]
    names = [f"{low:.2f} to {min(high, 1):.2f}" for low, high in itertools.pairwise(EDGES)]
    lines = [line(name, chosen) for name, chosen in zip(names, by_similarity, strict=True) if chosen]
    kinds = sorted({p.kind for p in planted})
    lines += [line(kind, [p for p in planted if p.kind == kind]) for kind in kinds]
    return {"bands": bands, "rows": rows, "documents": len(planted), "reported_pairs": len(found),
            "precision": round(right / len(found), 4) if found else None, "lines": lines}  # fmt: skip


def _pairs(out: Path) -> set[tuple[bytes, bytes]]:
    """(doc_a, doc_b) of every pair that the run reports, doc_a < doc_b."""
    paths = sorted((out / "pairs").glob("*.parquet"))
    tables = [pq.read_table(path, columns=["doc_a", "doc_b"]).to_pydict() for path in paths]
    return {pair for table in tables for pair in zip(table["doc_a"], table["doc_b"], strict=True)}
