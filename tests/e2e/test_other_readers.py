"""What other programs find in a run and in its exports, and what `curate` finds in a folder that one of them wrote.

Each program runs in the environment `readers` of benchmarks/environments.py, since they pin other libraries.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_export import documents, exported, made  # noqa: F401 (a fixture)

from benchmarks import environments

pytestmark = pytest.mark.slow


def other(program: str, *arguments: object) -> Any:
    """What `program` prints as JSON, in the environment of the other readers."""
    done = subprocess.run(
        [str(environments.python("readers")), "-c", program, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_duckdb_polars_and_datasets_read_the_documents_as_one_table(made: Path) -> None:  # noqa: F811
    wanted = sorted(row["text"] for row in documents(made / "texts"))
    duckdb = """if True:
        import duckdb, json, sys
        rows = duckdb.sql(f"select text, doc_id from '{sys.argv[1]}/documents/*.parquet'").fetchall()
        print(json.dumps(sorted(row[0] for row in rows)))"""
    polars = """if True:
        import json, polars, sys
        table = polars.read_parquet(sys.argv[1] + "/documents/*.parquet")
        print(json.dumps(sorted(table["text"].to_list())))"""
    datasets = """if True:
        import datasets, json, sys
        loaded = datasets.load_dataset("parquet", data_dir=sys.argv[1] + "/documents", cache_dir=sys.argv[2])
        print(json.dumps(sorted(loaded["train"]["text"])))"""
    cache = made / "cache"
    for program in (duckdb, polars, datasets):
        assert other(program, made / "texts", cache) == wanted


def test_webdataset_reads_every_sample(made: Path, tmp_path: Path) -> None:  # noqa: F811
    files = exported(made, "texts", tmp_path / "out", to="webdataset", size=30_000, columns=("url",))
    program = """if True:
        import json, sys, webdataset
        samples = webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode()
        print(json.dumps([[sample["__key__"], sample["txt"], sample["json"]["url"]] for sample in samples]))"""
    wanted = [[row["doc_id"].hex(), row["text"], row["url"]] for row in documents(made / "texts")]
    assert other(program, *files) == wanted


def test_a_folder_of_save_to_disk_reads_as_it_comes(tmp_path: Path, curate: Any) -> None:
    program = """if True:
        import datasets, sys
        rows = {"text": [f"text {i}" for i in range(100)], "url": [f"https://e.test/{i}" for i in range(100)]}
        parts = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})
        parts.save_to_disk(sys.argv[1], num_shards={"train": 3})
        print("null")"""
    other(program, tmp_path / "saved")
    done = curate("normalize", tmp_path / "saved", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    found = documents(tmp_path / "out")
    assert sorted((row["text"], row["url"]) for row in found) == sorted(
        (f"text {i}", f"https://e.test/{i}") for i in range(100)
    )
