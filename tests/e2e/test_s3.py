"""Runs that read from and write to an object store: a real S3 server, reached through connections that break."""

import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from conftest import Finished
from s3server import BUCKET, Server

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

FAULTS = {"busy": 0.08, "refused": 0.03, "lost": 0.03, "cut": 0.06, "slow": 0.02}
NOT_THE_SAME = ("funnel.json", "run.yaml", "run.log", "passes/")  # they hold times, addresses and fingerprints

SHORT = """\
version: 1
inputs:
  - {path: PLACE/pages, source: web}
  - {path: PLACE/lines, source: notes}
steps:
  - extract
  - normalize
  - holdout: {share: 0.2}
"""

LONG = (
    SHORT.replace("steps:", "  - {path: PLACE/tables, source: tables}\nsteps:").replace(
        "  - normalize\n", "  - normalize\n  - filter\n  - redact\n"
    )
    + """\
  - train_tokenizer: {vocab_size: 300}
  - tokenize
  - mix
"""
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """Files of several forms in a folder, and the same in the bucket below `in/`."""
    folder = tmp_path_factory.mktemp("in")
    corpus.crawl(folder / "pages", files=2, pages_a_file=15)
    texts = corpus.articles(40, seed=2)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    (folder / "lines").mkdir()
    (folder / "lines/notes.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    (folder / "tables").mkdir()
    pq.write_table(pa.table({"text": corpus.articles(40, seed=3)}), folder / "tables/t.parquet", row_group_size=10)
    files = server.files()
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe_file(f"{BUCKET}/in/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return folder


def recipe(folder: Path, text: str, place: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(text.replace("PLACE", str(place)))
    return path


def digest(held: dict[str, bytes]) -> dict[str, str]:
    """Name and checksum of every product."""
    return {k: hashlib.sha256(v).hexdigest() for k, v in held.items() if not k.startswith(NOT_THE_SAME)}


def on_disk(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def in_bucket(server: Server, prefix: str) -> dict[str, bytes]:
    files = server.files()
    return {name.removeprefix(f"{BUCKET}/{prefix}/"): files.cat_file(name) for name in files.find(f"{BUCKET}/{prefix}")}


def check_receipts(held: dict[str, bytes], scratch: Path) -> None:
    """Whatever a receipt names is there as it was written: no receipt comes before its files."""
    for name, data in held.items():
        if name.startswith("passes/") and name.endswith(".json") and "outputs" in (receipt := json.loads(data)):
            outputs = [(o["file"], o["product"]) for o in receipt["outputs"]]
            products = [*receipt["documents"].values(), *([receipt["rejects"]] if receipt["rejects"] else [])]
            for file, product in [*outputs, *((file, True) for file in products)]:
                found = held.get(file["path"]) if product else None
                path = scratch / file["path"]
                if found is None and path.exists():
                    found = path.read_bytes()
                if found is not None:  # documents between passes may be removed when nothing reads them any more
                    assert hashlib.sha256(found).hexdigest() == file["sha256"], file["path"]


@pytest.fixture
def remote(curate: Callable[..., Finished], server: Server) -> Callable[..., Finished]:
    """`curate` with the server as S3; `port` is a proxy's."""

    def run(*arguments: object, port: int | None = None) -> Finished:
        return curate(*arguments, env=server.environment(port))

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, inputs: Path, curate: Callable[..., Finished]) -> dict[str, str]:
    """The products of LONG, run on a disk."""
    folder = tmp_path_factory.mktemp("whole")
    done = curate("run", recipe(folder, LONG, inputs), "--out", folder / "out", "--workers", 2)
    assert done.code == 0, done.err
    return digest(on_disk(folder / "out"))


def test_a_run_over_broken_connections_gives_the_bytes_of_a_local_one(
    tmp_path: Path, server: Server, inputs: Path, curate: Callable[..., Finished], remote: Callable[..., Finished]
) -> None:
    done = curate("run", recipe(tmp_path, SHORT, inputs), "--out", tmp_path / "out", "--workers", 1)
    assert done.code == 0, done.err
    ours = recipe(tmp_path / "remote", SHORT, f"s3://{BUCKET}/in")
    command = ("run", ours, "--out", f"s3://{BUCKET}/short", "--scratch", tmp_path / "scratch", "--workers", 1)
    with server.faulty(7, {name: share / 2 for name, share in FAULTS.items()}) as proxy:
        done = remote(*command, port=proxy.port)
    assert done.code == 0, done.err
    assert sum(n for name, n in proxy.done.items() if name != "passed on") > 5, proxy.done
    held = in_bucket(server, "short")
    assert digest(held) == digest(on_disk(tmp_path / "out"))
    assert not any(b"a-secret-key" in data or b"an-access-key" in data for data in held.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_run_continues_over_broken_connections(
    tmp_path: Path, server: Server, inputs: Path, whole: dict[str, str], seed: int, remote: Callable[..., Finished]
) -> None:
    rng = random.Random(seed)
    out, scratch = f"killed-{seed}", tmp_path / "scratch"
    command = [
        "run",
        recipe(tmp_path, LONG, f"s3://{BUCKET}/in"),
        "--out",
        f"s3://{BUCKET}/{out}",
        "--scratch",
        scratch,
    ]
    with server.faulty(seed, FAULTS) as proxy:
        for _ in range(4):
            process = subprocess.Popen(
                [sys.executable, "-m", "curate", *map(str, command), "--workers", str(rng.choice([1, 2]))],
                env={**os.environ, **server.environment(proxy.port)},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(rng.uniform(3, 25))
            process.send_signal(signal.SIGKILL)
            process.wait()
            check_receipts(in_bucket(server, out), scratch)
        time.sleep(1.0)  # workers end when they see that the driver has
        done = remote(*command, "--workers", 2, port=proxy.port)
    assert done.code == 0, done.err
    assert digest(in_bucket(server, out)) == whole
    assert not server.files().list_multipart_uploads(BUCKET)


@pytest.mark.slow
def test_what_is_asked_of_a_folder_can_be_asked_of_a_bucket(
    tmp_path: Path, server: Server, inputs: Path, whole: dict[str, str], remote: Callable[..., Finished]
) -> None:
    run, place = f"s3://{BUCKET}/asked", recipe(tmp_path, LONG, f"s3://{BUCKET}/in")
    command = ("run", place, "--out", run, "--scratch", tmp_path / "scratch")
    files = server.files()

    refused = remote("run", place, "--out", run)
    assert refused.code == 2 and "name one with --scratch" in " ".join(refused.err.split())
    assert remote("status", run).code == 2
    done = remote(*command)
    assert done.code == 0, done.err
    assert digest(in_bucket(server, "asked")) == whole
    assert not list((tmp_path / "scratch").rglob("*.arrow"))
    again = remote(*command, "--json")
    assert again.code == 0 and set(again.json["ran"].values()) == {0}, again.err
    status = remote("status", run, "--json")
    assert status.json["state"] == "finished", status.out
    story = remote("why", "https://example.test/1/0/3", "--out", run, "--json")
    assert len(story.json["documents"]) == 1, story.err

    # A file of which only a part is left is not taken for what was written.
    name = next(name for name in files.find(f"{BUCKET}/asked/documents"))
    files.pipe_file(name, files.cat_file(name)[:-100])
    done = remote(*command)
    assert done.code == 0 and "was damaged" in done.err, done.err
    assert digest(in_bucket(server, "asked")) == whole

    # What a killed upload leaves is removed; what is someone else's stays.
    files.call_s3("create_multipart_upload", Bucket=BUCKET, Key="asked/documents/x.parquet")
    files.call_s3("create_multipart_upload", Bucket=BUCKET, Key="askedtoo/x")
    cleaned = remote("clean", run)
    assert cleaned.code == 0 and "removed 1 temporary file" in cleaned.out, cleaned.err
    assert [upload["Key"] for upload in files.list_multipart_uploads(BUCKET)] == ["askedtoo/x"]

    # Its documents are the input of another command, and only while the run is whole.
    done = remote("filter", run, "--out", f"s3://{BUCKET}/next", "--scratch", tmp_path / "next", "--json")
    assert done.code == 0 and done.json["steps"][0]["rows_in"] > 50, done.err
    files.rm_file(f"{BUCKET}/asked/funnel.json")
    refused = remote("filter", run, "--out", f"s3://{BUCKET}/next2", "--scratch", tmp_path / "next2")
    assert refused.code == 2 and "not finished" in refused.err


@pytest.mark.slow
def test_one_run_owns_a_bucket_s_folder(
    tmp_path: Path, server: Server, inputs: Path, remote: Callable[..., Finished]
) -> None:
    from curate.io.lock import Owner

    place, files = recipe(tmp_path, SHORT, f"s3://{BUCKET}/in"), server.files()
    command = ("run", place, "--out", f"s3://{BUCKET}/owned", "--scratch", tmp_path / "scratch")
    files.pipe_file(f"{BUCKET}/owned/run.lock", Owner.here("curate run").encode())
    refused = remote(*command)
    assert refused.code == 2 and f"process {os.getpid()}" in refused.err, refused.err
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    owner = Owner.here("curate run")
    dead = type(owner)(**{**vars(owner), "process": ended.pid, "started": "1"})
    files.pipe_file(f"{BUCKET}/owned/run.lock", dead.encode())
    done = remote(*command)
    assert done.code == 0 and "taken over" in done.err, done.err
    assert not files.exists(f"{BUCKET}/owned/run.lock")


@pytest.mark.slow
def test_a_store_that_goes_away_stops_the_run_and_the_command_continues(
    tmp_path: Path, server: Server, inputs: Path, whole: dict[str, str], remote: Callable[..., Finished]
) -> None:
    place = recipe(tmp_path, LONG, f"s3://{BUCKET}/in")
    command = ("run", place, "--out", f"s3://{BUCKET}/away", "--scratch", tmp_path / "scratch", "--workers", 2)
    with server.faulty(1, {}) as proxy:
        served = 0

        def fault() -> str:
            nonlocal served
            served += 1
            return "refused" if served > 120 else ""

        proxy.fault = fault  # type: ignore[method-assign]
        done = remote(*command, port=proxy.port)
    assert done.code == 1 and "the same command" in " ".join(done.err.split()), done.err
    assert "Traceback" not in done.err, done.err
    check_receipts(in_bucket(server, "away"), tmp_path / "scratch")
    done = remote(*command)
    assert done.code == 0, done.err
    assert digest(in_bucket(server, "away")) == whole


@pytest.mark.slow
def test_a_cluster_works_on_an_object_store(
    tmp_path: Path, server: Server, inputs: Path, whole: dict[str, str], curate: Callable[..., Finished]
) -> None:
    pytest.importorskip("ray")
    from raycluster import Nodes

    with server.faulty(5, FAULTS) as proxy:
        nodes = Nodes(server.environment(proxy.port))
        try:
            done = curate(
                "run", recipe(tmp_path, LONG, f"s3://{BUCKET}/in"), "--out", f"s3://{BUCKET}/cluster", "--scratch",
                tmp_path / "scratch", "--executor", "ray",
                env={**server.environment(proxy.port), **nodes.environment()},
            )  # fmt: skip
        finally:
            nodes.cluster.shutdown()
    assert done.code == 0, done.err
    assert digest(in_bucket(server, "cluster")) == whole


@pytest.mark.slow
def test_a_wrong_address_is_told(tmp_path: Path, server: Server, inputs: Path, curate: Any) -> None:
    place = recipe(tmp_path, SHORT, inputs)
    shutil.rmtree(tmp_path / "scratch", ignore_errors=True)
    done = curate(
        "run", place, "--out", "s3://no-such-bucket/x", "--scratch", tmp_path / "scratch", env=server.environment()
    )
    assert done.code == 2 and "does not exist" in done.err, done.err
