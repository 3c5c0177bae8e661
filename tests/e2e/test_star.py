"""near_dedup judged by brute force over all pairs: nothing goes for a document that it is not like, little is missed,
and names and reports decide nothing."""

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import alike
from curate.config import parse_yaml
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import resolve, single_stage

LEAST = 0.7


pytestmark = pytest.mark.usefixtures("inline")


class Outcome(NamedTuple):
    """Documents by their numbers over all files, in the order of the files."""

    kept: list[int]
    gone: list[tuple[int, int, float]]  # (dropped, the one that its reject names, value)
    notes: list[str]


def write(folder: Path, names: list[str], texts: list[str]) -> Path:
    """The texts in as many files, in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(sorted(names), np.array_split(np.arange(len(texts)), len(names)), strict=True):
        pq.write_table(pa.table({"text": [texts[i] for i in part], "number": part}), folder / f"{name}.parquet")
    return folder


def near(folder: Path, out: Path, against: Path | None = None, **settings: Any) -> Outcome:
    inputs = [InputSettings(path=str(folder))]
    if against is not None:
        inputs.append(InputSettings(path=str(against), against=True))
    done = driver.run(single_stage("near_dedup", settings, inputs), out)
    assert done.exit_code == 0, done.failures
    kept = pq.read_table(out / "documents", columns=["doc_id", "origin_file", "number"]).to_pylist()
    rejects = [row for path in (out / "rejects").glob("*") for row in pq.read_table(path).to_pylist()]
    rejects = [row for row in rejects if row["action"] == "drop"]
    numbers = {row["doc_id"]: row["number"] for row in kept}
    start = 0
    for path in sorted(folder.glob("*.parquet")):
        numbers |= {r["doc_id"]: start + r["origin_offset"] for r in rejects if r["origin_file"] == path.name}
        start += pq.read_metadata(path).num_rows
    named = {bytes.fromhex(row["detail"].rpartition(" ")[2]) for row in rejects}
    numbers |= dict.fromkeys(named - numbers.keys(), -1)  # of what is only compared with
    gone = [(numbers[r["doc_id"]], numbers[bytes.fromhex(r["detail"].rpartition(" ")[2])], r["value"]) for r in rejects]
    return Outcome(sorted(row["number"] for row in kept), sorted(gone), done.warnings)


def judge(texts: list[str], found: Outcome) -> dict[str, float]:
    """What brute force says of an outcome: similarities by all pairs of LEAST and more."""
    n = len(texts)
    stays = np.zeros(n, bool)
    stays[found.kept] = True
    named = np.full(n, -1)
    value = np.zeros(n)
    for dropped, other, said in found.gone:
        named[dropped], value[dropped] = other, said
    true = np.zeros(n)  # the similarity to the document that the reject names, where it is LEAST or more
    high = both = 0
    for a, b, jaccard in alike.similar_pairs(texts, LEAST):
        for x, y in ((a, b), (b, a)):
            here = named[x] == y
            true[x[here]] = jaccard[here]
        high += int((jaccard >= 0.8).sum())
        both += int(((jaccard >= 0.8) & stays[a] & stays[b]).sum())
    gone = named >= 0
    return {
        "dropped": int(gone.sum()),
        "below": int((true[gone] == 0).sum()),
        "other value": int((np.abs(true[gone] - value[gone]) > 1e-9).sum()),
        "named that went": int((~stays[named[gone]]).sum()),
        "pairs at .8": high,
        "both kept": both / max(1, high),
    }


@pytest.mark.parametrize(
    ("kind", "count"),
    [("products", 1500), ("cjk", 800), *(pytest.param(k, 20_000, marks=pytest.mark.slow) for k in alike.KINDS)],
)
def test_no_document_goes_for_one_that_it_is_not_like(kind: str, count: int, tmp_path: Path) -> None:
    texts = alike.texts(kind, count)
    found = near(write(tmp_path / "in", ["a", "b"], texts), tmp_path / "out")
    seen = judge(texts, found)
    print(kind, count, json.dumps(seen), found.notes)
    assert len(found.kept) + len(found.gone) == count and seen["dropped"] > count // 20
    assert seen["below"] == seen["other value"] == seen["named that went"] == 0
    assert seen["both kept"] <= 0.01


def test_chains_end_where_they_are_no_longer_alike(tmp_path: Path) -> None:
    """Each is like the next one; connected keeps one of them and says how little the others are like it."""
    rng = random.Random(3)
    words, fresh = ([f"w{rng.randrange(5000)}" for _ in range(400)] for _ in range(2))
    texts = [" ".join(fresh[: 16 * k] + words[16 * k :]) for k in range(24)]
    folder = write(tmp_path / "in", ["a"], texts)
    star, connected = (near(folder, tmp_path / rule, cluster=rule) for rule in ("star", "connected"))
    assert len(star.kept) >= 3 and judge(texts, star)["below"] == 0
    assert connected.kept == [0] and min(value for *_, value in connected.gone) < 0.2


@pytest.mark.parametrize("kind", ["products", "code"])
def test_names_and_reports_decide_nothing(kind: str, tmp_path: Path) -> None:
    """Whatever the files are called, as long as they keep their order, and with --pairs: ids follow the names."""
    texts = alike.texts(kind, 900, seed=5)
    outcomes = []
    for seed in range(2):
        names = [f"{part}{random.Random(seed).randrange(10**9)}" for part in "abc"]
        folder = write(tmp_path / str(seed), names, texts)
        outcomes += [near(folder, tmp_path / f"{seed}{pairs}", pairs=pairs)[:2] for pairs in (False, True)[: 1 + seed]]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert len(outcomes[0][1]) > 50


def test_a_template_is_told_and_several_of_it_may_stay(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(150)]
    filled = [" ".join([*words[:70], f"town{i}", *words[70:]]) for i in range(30)]
    edited = [" ".join(["x" if i == 7 * k else f"v{i}" for i in range(150)]) for k in range(20)]
    folder = write(tmp_path / "in", ["a"], filled + edited + filled[:5])
    one, three = (near(folder, tmp_path / str(k), templates=k) for k in (1, 3))
    assert one.kept == [0, 30] and three.kept == [0, 1, 2, 30]
    (row,) = pq.read_table(tmp_path / "3" / "templates").to_pylist()
    assert (row["members"], row["variants"], row["slots"], row["kept"]) == (35, 30, 1, 3)
    assert any(
        "a template of 35 documents, 30 of them different, which differ in some 1 place;" in n for n in one.notes
    )


def test_copies_are_counted_through_all_stages(tmp_path: Path) -> None:
    """What a document stands for is what exact and near deduplication dropped for it, together."""
    texts = alike.texts("cjk", 300, seed=2)
    texts += texts[:100]
    folder = write(tmp_path / "in", ["a", "b"], texts)
    steps = ["exact_dedup", "near_dedup", {"substring_dedup": {"min_length": 600}}, {"line_dedup": {"min_count": 50}}]
    recipe = resolve(
        parse_yaml(json.dumps({"version": 1, "inputs": [{"path": str(folder)}], "steps": steps}), "r.yaml")
    )
    assert driver.run(recipe, tmp_path / "out").exit_code == 0
    rows = pq.read_table(tmp_path / "out" / "documents").to_pylist()
    rejects = [row for path in (tmp_path / "out" / "rejects").glob("*") for row in pq.read_table(path).to_pylist()]
    empty = [row for row in rejects if row["rule"].endswith(".empty")]
    assert not empty and sum(row["n_copies"] for row in rows) == len(texts)
    assert max(row["n_copies"] for row in rows) >= 3
