"""The same runs on a Ray cluster of two nodes with one core each, whose workers, nodes and drivers are killed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import corpus
from conftest import Finished
from raycluster import Nodes, processes

pytest.importorskip("ray")

RECIPE = """\
version: 1
inputs:
  - {path: PLACE/in, source: web}
steps:
  - extract
  - normalize
  - redact
  - holdout: {share: 0.2}
  - train_tokenizer: {vocab_size: 300}
  - tokenize
  - mix
"""
TASKS = 6

STAGE = '''\
"""A stage that fails on every document, and says what Ray gave it."""

import os

from curate.config import Settings, setting
from curate.stages.protocol import Phase, Resources, Stage


class Config(Settings):
    cores: float = setting(0.5, "cores of a worker")
    gpus: float = setting(0.0, "GPUs of a worker")


def fail(batch, config):
    if "RAY_JOB_ID" in os.environ or "ray" in __import__("sys").modules:
        import ray

        if ray.is_initialized():
            open(os.environ["ASSIGNED"], "w").write(str(ray.get_runtime_context().get_assigned_resources()))
    raise ValueError("it does not like the text")


STAGE = Stage(
    name="fails", version=1, summary="Fail.", config=Config, phases=(Phase(name="apply", shape="each", apply=fail),),
    resources=lambda config: Resources(cores=config.cores, gpus=config.gpus),
)
'''


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    code = tmp_path_factory.mktemp("code")
    (code / "failing.py").write_text(STAGE)
    nodes = Nodes({"PYTHONPATH": str(code), "ASSIGNED": str(code / "assigned")})
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with TASKS files that are a task each, and a recipe that reads them."""
    folder = tmp_path_factory.mktemp("ray")
    rng = random.Random(7)
    texts = corpus.articles(TASKS * 15)
    for f in range(TASKS):
        pages = []
        for i, text in enumerate(texts[f * 15 : (f + 1) * 15]):
            noise = f"<!--{rng.randbytes(250_000).hex()}-->".encode()  # so that a file is a task of its own
            page = corpus.page(text, f"Page {i}").replace(b"<nav>", noise + b"<nav>")
            pages.append((f"https://example.test/{f}/{i}", page))
        corpus.write_warc(folder / f"in/part-{f}.warc.gz", pages)
    (folder / "recipe.yaml").write_text(RECIPE.replace("PLACE", str(folder)))
    return folder


def digest(out: Path) -> dict[str, str]:
    """Name and checksum of every product."""
    tops = ("documents", "rejects", "heldout", "tokens", "tokenizer.json", "mixture.yaml", "tokenizer")
    files = [path for top in tops for path in [out / top, *sorted((out / top).rglob("*"))] if path.is_file()]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def local(place: Path, curate: Callable[..., Finished]) -> dict[str, str]:
    """The products of a run with two workers of this machine."""
    done = curate("run", place / "recipe.yaml", "--out", place / "local", "--workers", 2)
    assert done.code == 0, done.err
    return digest(place / "local")


def receipts(out: Path) -> int:
    return len(receipt_sizes(out))


def receipt_sizes(out: Path) -> list[int]:
    """Bytes of every receipt, which is what comes back from a node."""
    others = ("plan.json", "work.json", "begun.json")
    return [path.stat().st_size for path in out.glob("passes/*/*.json") if path.name not in others]


def started(place: Path, out: Path, nodes: Nodes, receipts_there: int) -> "subprocess.Popen[bytes]":
    """A run on the cluster that has got so far."""
    process = subprocess.Popen(
        [sys.executable, "-m", "curate", "run", str(place / "recipe.yaml"), "--out", str(out), "--executor", "ray"],
        env={**os.environ, **nodes.environment()}, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while receipts(out) < receipts_there or not nodes.workers():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_cluster_gives_the_bytes_of_local_workers(
    place: Path, nodes: Nodes, local: dict[str, str], curate: Callable[..., Finished], tmp_path: Path
) -> None:
    # The folder is named as seen from where the driver is; workers are elsewhere.
    done = curate(
        "run", place / "recipe.yaml", "--out", "out", "--scratch", "scratch", "--executor", "ray", "--json",
        cwd=tmp_path, env=nodes.environment(),
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["ran"]["00-extract"] == TASKS
    assert digest(tmp_path / "out") == local
    assert max(receipt_sizes(tmp_path / "out")) < 10_000  # it names files; no rows come back


@pytest.mark.slow
def test_one_worker_and_one_node_give_the_same(
    place: Path, nodes: Nodes, local: dict[str, str], curate: Callable[..., Finished], tmp_path: Path
) -> None:
    done = curate("run", place / "recipe.yaml", "--out", tmp_path / "one", "--workers", 1)
    assert done.code == 0 and digest(tmp_path / "one") == local, done.err
    nodes.cluster.remove_node(nodes.second)
    try:
        done = curate(
            "run", place / "recipe.yaml", "--out", tmp_path / "out", "--executor", "ray", env=nodes.environment()
        )
    finally:
        nodes.second = nodes.add()
    assert done.code == 0 and digest(tmp_path / "out") == local, done.err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_worker_or_a_node_is_killed_and_the_run_goes_on(
    place: Path, nodes: Nodes, local: dict[str, str], tmp_path: Path, what: str
) -> None:
    process = started(place, tmp_path / "out", nodes, 2)
    if what == "worker":
        for pid in nodes.workers():
            os.kill(pid, signal.SIGKILL)
    else:
        nodes.cluster.remove_node(nodes.second, allow_graceful=False)
    try:
        _, error = process.communicate(timeout=300)
    finally:
        if what == "node":
            nodes.second = nodes.add()
    assert process.returncode == 0, error
    assert digest(tmp_path / "out") == local


@pytest.mark.slow
def test_the_driver_is_killed_and_the_command_continues(
    place: Path, nodes: Nodes, local: dict[str, str], curate: Callable[..., Finished], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = started(place, out, nodes, 2)
    process.kill()
    process.communicate()
    there = receipts(out)
    command = ("run", place / "recipe.yaml", "--out", out, "--json")
    done = curate(*command, "--executor", "ray", env=nodes.environment())
    assert done.code == 0 and "taken over" in done.err, done.err
    assert there >= 2 and done.json["ran"]["00-extract"] <= TASKS - min(there, TASKS)
    assert digest(out) == local
    again = curate(*command, "--workers", 1)  # whoever runs it enters nothing
    assert set(again.json["ran"].values()) == {0}, again.err


@pytest.mark.slow
def test_what_a_stage_needs_and_how_it_fails_are_told_as_everywhere(
    place: Path, nodes: Nodes, curate: Callable[..., Finished], tmp_path: Path
) -> None:
    corpus.write_jsonl(tmp_path / "in.jsonl", [{"text": "some words"}])
    recipe = tmp_path / "fails.yaml"

    def run(out: str, *options: str, settings: str = "") -> Finished:
        recipe.write_text(
            f"version: 1\ninputs: [{{path: {tmp_path}/in.jsonl}}]\nsteps:\n  - failing:STAGE: {{{settings}}}\n"
        )
        command = ("run", recipe, "--out", tmp_path / out, "--allow-code", "failing", *options)
        return curate(*command, env=nodes.environment())

    local, ours = run("local"), run("ray", "--executor", "ray")
    assert ours.code == local.code == 1
    assert ours.err == local.err and "it does not like the text" in " ".join(ours.err.split())
    assert "'CPU': 0.5" in Path(nodes.variables["ASSIGNED"]).read_text()
    for settings, words in (("cores: 2", "2 cores"), ("gpus: 1", "1 GPUs")):
        refused = run(words.replace(" ", "-"), "--executor", "ray", settings=settings)
        assert refused.code == 2 and "no node" in refused.err and words in " ".join(refused.err.split()), refused.err


@pytest.mark.slow
def test_a_worker_that_knows_another_run_does_not_take_this_one_for_it(
    place: Path, nodes: Nodes, local: dict[str, str], tmp_path: Path
) -> None:
    """Two runs of one process that joined the cluster itself meet the same workers."""
    code = f"""
import ray
from curate.run.driver import run
from curate.run.recipe import load_recipe
ray.init(address={nodes.cluster.address!r}, log_to_driver=False)
for name in ("one", "two"):
    run(load_recipe({str(place / "recipe.yaml")!r}), {str(tmp_path)!r} + "/" + name, executor="ray")
"""
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **nodes.environment()}, check=True)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") == local


@pytest.mark.slow
def test_nothing_is_left_open_on_the_nodes(
    place: Path, nodes: Nodes, curate: Callable[..., Finished], tmp_path: Path
) -> None:
    """A parser of others runs in a child of its worker; it ends with the run."""
    text = (place / "recipe.yaml").read_text().replace("- extract\n", "- extract: {extractor: resiliparse}\n")
    (tmp_path / "recipe.yaml").write_text(text)
    before = {pid for pid, _, name in processes() if "python" in name}
    done = curate(
        "run", tmp_path / "recipe.yaml", "--out", tmp_path / "out", "--executor", "ray", env=nodes.environment()
    )
    assert done.code == 0, done.err
    deadline = time.monotonic() + 20
    while left := [name for pid, _, name in processes() if pid not in before and "curate" in name and "ray::" in name]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


@pytest.mark.slow
def test_without_a_cluster_the_command_says_what_is_missing(
    place: Path, curate: Callable[..., Finished], tmp_path: Path
) -> None:
    done = curate(
        "run", place / "recipe.yaml", "--out", tmp_path / "out", "--executor", "ray", env={"RAY_ADDRESS": "127.0.0.1:1"}
    )
    assert done.code == 2 and "no Ray cluster answers at 127.0.0.1:1" in " ".join(done.err.split()), done.err
