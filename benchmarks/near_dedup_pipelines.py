"""near_dedup beside the pipelines people use: datatrove's four steps and text-dedup, on the same Parquet files.

    python -m benchmarks.near_dedup_pipelines known        # the documents whose pairs are known: 3,451, 160 MB
    python -m benchmarks.near_dedup_pipelines              # and all 25,750, of which the peers get a tenth

The peers cannot be installed beside our pins: each gets an environment of its own (environments.py). All get the same
files, 14 bands of 8 rows, word 5-grams and two processes; time is CPU and wall of the whole command
with its children, start included, and memory the private memory of all of them at the peak.

A pair is found when one cluster holds both documents. Recall is of the pairs with a true similarity of 0.8 or more,
precision the share of all pairs found whose similarity is 0.7 or more: chains of similar documents lower it for all.
"""

import io
import itertools
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from benchmarks import environments
from benchmarks.harness import Report, run, watched
from benchmarks.texts import SHARED

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2
Pairs = dict[tuple[int, int], float]


class Data(NamedTuple):
    """A folder of two Parquet files, and the known pairs with their similarity, if they are known."""

    folder: Path
    documents: int
    bytes: int
    pairs: Pairs | None


class Used(NamedTuple):
    """What a command took, and the cluster of every document that is in one."""

    wall: float
    cpu: float
    memory: float
    clusters: dict[int, int]


# -- data ----------------------------------------------------------------------------------------------------


def _write(folder: Path, texts: list[str], pairs: Pairs | None) -> Data:
    folder.mkdir(parents=True)
    half = len(texts) // 2
    for number, (start, end) in enumerate([(0, half), (half, len(texts))]):
        ids = [str(i) for i in range(start, end)]
        table = pa.table({"id": ids, "text": pa.array(texts[start:end], pa.large_string())})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=500)
    return Data(folder, len(texts), sum(len(text.encode()) for text in texts), pairs)


def _all() -> Iterable[dict[str, str]]:
    with (SHARED / "neardup" / "ota_contrib_all.jsonl.zst").open("rb") as file:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file)
        yield from map(json.loads, io.TextIOWrapper(reader, encoding="utf-8"))


@cache
def truth(folder: Path) -> Data:
    """3,451 versions of terms of service and every pair of them with a similarity of 0.3 or more."""
    packed = (SHARED / "neardup" / "ota_truth.tar.zst").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().stream_reader(packed).readall())) as archive:
        files = {m.name.rpartition("/")[2]: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        documents = [json.loads(line) for line in files["ota_sample_docs.jsonl"] or []]
        lines = [line.split() for line in files["ota_sample_pairs_w5_ge0.30.tsv"] or []]
    places = {(d["path"], d["sha"]): d["id"] for d in documents}
    texts = [""] * len(documents)
    for row in _all():
        place = places.get((row["path"], row["sha"]))
        if place is not None:
            texts[place] = row["text"]
    return _write(folder / "truth", texts, {(int(a), int(b)): float(j) for a, b, j in lines})


# -- running -------------------------------------------------------------------------------------------------


def ours(data: Data, folder: Path, *options: str) -> Used:
    out = folder / "out"
    used = watched([sys.executable, "-m", "curate", "near-dedup", str(data.folder), "--out", str(out),
                     "--workers", str(WORKERS), *options], folder)  # fmt: skip
    # Our ids stand for a file and a row of it.
    starts = {"0.parquet": 0, "1.parquet": data.documents // 2}
    tables = [pq.read_table(out / top) for top in ("documents", "rejects") if any((out / top).glob("*.parquet"))]
    number = {
        row["doc_id"]: starts[Path(row["origin_file"]).name] + row["origin_offset"]
        for table in tables
        for row in table.select(["doc_id", "origin_file", "origin_offset"]).to_pylist()
    }
    clusters = {}
    for row in tables[-1].select(["doc_id", "action", "detail"]).to_pylist():
        if row["action"] == "drop":
            head = number[bytes.fromhex(row["detail"][-32:])]
            clusters[number[row["doc_id"]]] = clusters[head] = head
    return Used(*used, clusters)


def datatrove(data: Data, folder: Path) -> Used:
    script = Path(__file__).with_name("datatrove_minhash.py")
    used = watched(
        [str(environments.python("datatrove")), str(script), str(data.folder), str(folder / "out"), str(WORKERS)],
        folder,
    )
    clusters = {}
    for path in itertools.chain(*((folder / "out" / top).glob("*.jsonl") for top in ("kept", "removed"))):
        for line in path.open():
            row = json.loads(line)
            cluster = row["metadata"].get("minhash_cluster_id", -1)
            if cluster >= 0:
                clusters[int(row["id"])] = cluster
    return Used(*used, clusters)


def text_dedup(data: Data, folder: Path) -> Used:
    python = str(environments.python("text-dedup"))
    options = {
        "path": "parquet", "data_files": str(data.folder / "*.parquet"), "split": "train", "column": "text",
        "output": str(folder / "out"), "cache_dir": str(folder / "cache"), "num_proc": WORKERS,
        "ngram": 5, "num_perm": 112, "b": 14, "r": 8,
    }  # fmt: skip
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    used = watched([python, "-m", "text_dedup.minhash", *given, "--debug"], folder)
    # Its union-find is kept as a pickle of its own classes, which its own interpreter reads.
    show = (
        "import json, pickle, sys; u = pickle.load(open(sys.argv[1], 'rb')); u = u[0] if isinstance(u, tuple) else u\n"
    )
    show += "print(json.dumps([[int(x), int(u.find(x))] for x in list(u.parent)]))"
    told = subprocess.run(
        [python, "-c", show, str(folder / "out" / "uf.pkl")], capture_output=True, text=True, check=True
    )
    return Used(*used, dict(json.loads(told.stdout)))


# -- the table -----------------------------------------------------------------------------------------------


def _pairs(clusters: dict[int, int]) -> set[tuple[int, int]]:
    members: dict[int, list[int]] = {}
    for document, cluster in clusters.items():
        members.setdefault(cluster, []).append(document)
    return {pair for group in members.values() for pair in itertools.combinations(sorted(group), 2)}


RUNS: dict[str, Callable[[Data, Path], Used]] = {
    "curate": ours,
    "curate_connected": lambda data, folder: ours(data, folder, "--cluster", "connected"),
    "curate_no_verify": lambda data, folder: ours(data, folder, "--no-verify"),
    "datatrove": datatrove,
    "text_dedup": text_dedup,
}


def _compare(report: Report, data: Data, names: Iterable[str], what: str) -> None:
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            used = RUNS[name](data, Path(place))
        found = _pairs(used.clusters)
        dropped = len(used.clusters) - len(set(used.clusters.values()))
        note = f"{used.wall:.0f} s wall; {used.memory:,.0f} MB; {dropped:,} of {data.documents:,} dropped"
        note += f"; {len(found):,} pairs"
        if data.pairs is not None:
            high = [pair for pair, jaccard in data.pairs.items() if jaccard >= 0.8]
            recall = sum(pair in found for pair in high) / len(high)
            precision = sum(data.pairs.get(pair, 0) >= 0.7 for pair in found) / max(1, len(found))
            note += f"; recall {recall:.4f}, precision {precision:.4f}"
        report.row(f"{what}_{name}", used.cpu, "s", 1, note=note)


def known(report: Report) -> None:
    """The documents whose pairs are known."""
    with tempfile.TemporaryDirectory() as place:
        _compare(report, truth(Path(place)), RUNS, "truth")


def all(report: Report) -> None:
    """All 25,750 for us; a tenth of them for everybody, since the peers would take hours for all."""
    with tempfile.TemporaryDirectory() as place:
        texts = [row["text"] for row in _all()]
        tenth = _write(Path(place) / "tenth", texts[::10], None)
        whole = _write(Path(place) / "whole", texts, None)
        del texts
        _compare(report, tenth, RUNS, "tenth")
        _compare(report, whole, ["curate", "curate_connected", "curate_no_verify"], "whole")


GROUPS: list[Callable[[Report], None]] = [known, all]

if __name__ == "__main__":
    run("near_dedup_pipelines", GROUPS, ["pyarrow"])
