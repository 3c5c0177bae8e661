"""substring_dedup and `curate find`: what stands in the corpus before is cut, and nothing else; words are found."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.dedup.find import Texts
from curate.dedup.spans import FOUND, joined, without
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import single_stage

N = 64


def run(folder: Path, out: Path, against: Path | None = None, **settings: Any) -> tuple[list[str | None], list[Any]]:
    """(texts that are left by their rows, None where a row went; rejects by row and start)."""
    inputs = [InputSettings(path=str(folder))]
    if against is not None:
        inputs.append(InputSettings(path=str(against), against=True))
    done = driver.run(single_stage("substring_dedup", {"min_length": N, **settings}, inputs), out)
    assert done.exit_code == 0, done.failures
    left = {row["number"]: row["text"] for row in pq.read_table(out / "documents").to_pylist()}
    paths = list((out / "rejects").glob("*"))
    rejects = [row for path in paths for row in pq.read_table(path).to_pylist()]
    rejects.sort(key=lambda row: (row["origin_offset"], row["span_start"] or 0))
    return [left.get(i) for i in range(max([*left, *(r["origin_offset"] for r in rejects)], default=-1) + 1)], rejects


def write(folder: Path, texts: list[str], files: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(texts) // files)
    for number in range(files):
        rows = range(number * size, min(len(texts), (number + 1) * size))
        pq.write_table(pa.table({"text": [texts[i] for i in rows], "number": list(rows)}), folder / f"{number}.parquet")
    return folder


def planted(
    rng: random.Random, count: int, letters: str = "abcdefghijklmnopqrstuvwxyz é漢"
) -> tuple[list[str], list[bool]]:
    """Texts of chance, and in half of them a piece of an earlier one, which is true of those texts."""
    texts: list[str] = []
    has: list[bool] = []
    for number in range(count):
        own = ["".join(rng.choice(letters) for _ in range(rng.randrange(20, 200))) for _ in range(2)]
        piece = ""
        if texts and number % 2:
            source = rng.choice(texts)
            start = rng.randrange(max(1, len(source) - 100))
            piece = source[start : start + rng.randrange(20, 100)]
        texts.append(own[0] + piece + own[1])
        has.append(len(piece.encode()) >= N)
    return texts, has


def test_planted_repeats_are_cut_and_none_is_invented(inline: None, tmp_path: Path) -> None:
    texts, has = planted(random.Random(1), 300)
    left, rejects = run(write(tmp_path / "in", texts), tmp_path / "out")
    for number, (before, after) in enumerate(zip(texts, left, strict=True)):
        data = before.encode()
        mine = [r for r in rejects if r["origin_offset"] == number and r["action"] == "cut"]
        assert bool(mine) >= has[number], number
        edges = [0, *(edge for r in mine for edge in (r["span_start"], r["span_end"])), len(data)]
        pieces = [data[a:b].decode() for a, b in zip(edges[::2], edges[1::2], strict=True)]
        assert after == "".join(pieces)
        for row in mine:
            stretch = data[row["span_start"] : row["span_end"]]
            # A character that is cut in two by the end of a repeat stays.
            assert row["value"] == len(stretch) >= N - 6 and stretch.decode() in "\0".join(texts[:number])
    assert sum(has) > 60


def test_files_workers_and_memory_decide_nothing(curate: Any, tmp_path: Path) -> None:
    texts, _ = planted(random.Random(2), 200)
    seen = set()
    for workers in (1, 2):
        out = tmp_path / str(workers)
        folder = write(tmp_path / "in", texts, files=3)
        done = curate("substring-dedup", folder, "--out", out, "--min-length", N, "--workers", workers)
        assert done.code == 0, done.err
        tops = ("documents", "rejects")
        seen.add(tuple(path.read_bytes() for top in tops for path in sorted((out / top).iterdir())))
    assert len(seen) == 1


def test_the_first_of_equal_documents_stays_and_the_others_go(inline: None, tmp_path: Path) -> None:
    text = "An article of some length, which is quoted here and there, and there again, in full."
    left, rejects = run(write(tmp_path / "in", [text, f"  {text}\n", f"Look: {text} So it said."]), tmp_path / "out")
    assert left == [text, None, "Look: So it said."]
    assert [(r["origin_offset"], r["rule"]) for r in rejects] == [
        (1, "substring_dedup.empty"), (1, "substring_dedup.repeated"), (2, "substring_dedup.repeated")]  # fmt: skip
    assert all(r["detail"].startswith("also in ") for r in rejects if r["action"] == "cut")


def test_what_is_only_compared_with_stays_and_is_not_written(inline: None, tmp_path: Path) -> None:
    rng = random.Random(4)
    shared, own = ("".join(rng.choice("abcdefg ") for _ in range(200)) for _ in range(2))
    new, kept = write(tmp_path / "new", [f"x{shared}y", own]), write(tmp_path / "kept", [shared, "kept alone" * 9])
    assert run(new, tmp_path / "out", kept)[0] == ["xy", own]
    assert run(new, tmp_path / "alone")[0] == [f"x{shared}y", own]


def test_words_are_found_where_they_stand(inline: None, curate: Any, tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = [
        " ".join(rng.choice(["river", "stone", "blé", "漢字"]) for _ in range(40)) + f" end {i}" for i in range(50)
    ]
    left, _ = run(write(tmp_path / "in", texts), tmp_path / "out", keep_index=True)
    ids = {row["doc_id"]: row["number"] for row in pq.read_table(tmp_path / "out" / "documents").to_pylist()}
    searched = Texts(tmp_path / "out")
    for words in ("river stone", "blé 漢字 blé", "end 7", "stone", "no such words", "é 漢"):
        count, hits = searched.find(words)
        found = [(ids[hit.doc_id], hit.start) for hit in hits]
        expected = []
        for number, text in enumerate(left):
            data, at = (text or "").encode(), -1
            while (at := data.find(words.encode(), at + 1)) >= 0:
                expected.append((number, at))
        assert sorted(found) == expected and count == len(expected)
    done = curate("find", "end 7", tmp_path / "out", "--json")
    assert done.code == 0 and done.json["count"] == 1 and done.json["places"][0]["before"].endswith(" ")
    none = curate("find", "end", tmp_path / "in")
    assert none.code == 2 and "--keep-index" in none.err


def test_spans_are_joined_where_they_touch() -> None:
    ids = [bytes([i]) * 16 for i in (2, 1, 1, 1, 2, 1)]
    spans = [(5, 9), (10, 20), (0, 4), (4, 6), (0, 3), (12, 15)]
    names = pa.array(ids, pa.binary(16))
    table = pa.table([names, *map(pa.array, zip(*spans, strict=True)), names], schema=FOUND)
    for memory in (10**9, 400):
        rows = pa.concat_tables(joined(table, 200, memory)).to_pylist()
        assert [(r["doc_id"][0], r["start"], r["end"]) for r in rows] == [(1, [0, 10], [6, 20]), (2, [0, 5], [3, 9])]
    assert without("añb漢c", [1, 4], [3, 7]) == "abc"


@pytest.mark.slow
def test_a_gigabyte_within_four(curate: Any, tmp_path: Path) -> None:
    """Prints the rate; benchmarks/substring.py stands it beside peers."""
    rng = random.Random(6)
    words = ["".join(rng.choice("etaoinshrdlu") for _ in range(rng.randrange(2, 9))) for _ in range(20_000)]
    (tmp_path / "in").mkdir()
    for number in range(20):
        texts = [" ".join(rng.choices(words, k=500)) for _ in range(18_000)]
        for i in range(0, len(texts), 10):
            texts[i] += " " + texts[i - 1][:1000]
        pq.write_table(pa.table({"text": texts}), tmp_path / "in" / f"{number:02}.parquet", row_group_size=2000)
    done = curate(
        "substring-dedup", tmp_path / "in", "--out", tmp_path / "out", "--memory", "4GB", "--workers", 2, "--json"
    )
    assert done.code == 0, done.err
    print(json.dumps(done.json["passes"]))
