"""What people put into a run's folders, and damage that must not stop a run: whole commands on small inputs."""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.extract.sandbox import Sandbox
from curate.io.lock import process_start
from curate.run.status import open_run, status_of
from faults.seam import Command, Event, Fault, Finished, World, flip


@pytest.fixture
def curate(tmp_path: Path) -> Any:
    corpus.write_jsonl(tmp_path / "in/a.jsonl", ({"text": text} for text in corpus.articles(30)))
    world = World(str(tmp_path / "out"), str(tmp_path / "state"))

    def run(*arguments: object) -> Finished:
        done = Command(arguments, world).finish()
        assert "Traceback" not in done.err, done
        return done

    return run


def normalize(folder: Path, *more: object) -> list[object]:
    return ["normalize", folder / "in", "--out", folder / "out", "--workers", 1, *more]


def documents(folder: Path) -> list[str]:
    return [row["text"] for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_damage_in_a_kept_pass_does_not_stop_what_reads_it(tmp_path: Path, curate: Any) -> None:
    """The tasks that read a damaged file have to run: it is made again first, and told."""
    text = f"version: 1\ninputs: [{{path: {tmp_path}/in}}]\nkeep: all\nsteps: [normalize, exact_dedup]\n"
    (tmp_path / "r.yaml").write_text(text)
    run = ("run", tmp_path / "r.yaml", "--out", tmp_path / "out")
    assert curate(*run).code == 0
    before = documents(tmp_path / "out/documents")
    for kept in [*tmp_path.glob("out/passes/00-*/*.parquet"), *tmp_path.glob("out/passes/00-*/*.arrow")]:
        flip(kept, random.Random(7))
    for later in ("02-exact_dedup.merge", "03-exact_dedup.apply"):
        shutil.rmtree(tmp_path / "out/passes" / later, ignore_errors=True)
    for receipt in tmp_path.glob("out/passes/0[1-9]-*/*.json"):
        receipt.unlink()
    done = curate(*run)
    assert done.code == 0 and "was damaged" in done.err and "made again" in done.err
    assert documents(tmp_path / "out/documents") == before


def test_documents_may_be_a_link_to_a_folder_that_holds_more(tmp_path: Path, curate: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/thesis.txt").write_text("years of work")
    (tmp_path / "out/documents").symlink_to(tmp_path / "disk")
    done = curate(*normalize(tmp_path))
    assert done.code == 0 and "documents/thesis.txt" in done.err
    assert len(documents(tmp_path / "disk")) == 30
    (tmp_path / "disk/.tmp-0123abcd-x.parquet").write_bytes(b"half")
    shutil.rmtree(tmp_path / "out/passes")
    done = curate(*normalize(tmp_path))
    assert done.code == 0 and (tmp_path / "out/documents").is_symlink()
    assert sorted(p.suffix for p in (tmp_path / "disk").iterdir()) == [".parquet", ".txt"]
    assert (tmp_path / "disk/thesis.txt").read_text() == "years of work"


def test_clean_touches_nothing_where_no_run_is(tmp_path: Path, curate: Any) -> None:
    """A name that looks like ours may be another program's."""
    (tmp_path / "out").mkdir()
    names = [tmp_path / "out/.tmp-settings", tmp_path / "out/.tmp-0123abcd-x"]
    for name in names:
        name.write_text("of another program")
    assert curate("clean", tmp_path / "out").code == 2
    assert sorted(os.listdir(tmp_path / "out")) == sorted(name.name for name in names)


def test_an_input_that_went_bad_takes_its_documents_along(tmp_path: Path, curate: Any) -> None:
    """After --update the counts are those of the documents that are there."""
    pq.write_table(pa.table({"text": corpus.articles(5, seed=2)}), tmp_path / "in/b.parquet")
    assert curate(*normalize(tmp_path)).code == 0
    (tmp_path / "in/b.parquet").write_text("not a table any more")
    done = curate(*normalize(tmp_path, "--update", "--json"))
    assert done.code == 1 and "b.parquet" in done.err
    assert f'"rows_out": {len(documents(tmp_path / "out/documents"))}' in done.out
    assert len(documents(tmp_path / "out/documents")) == 30
    assert status_of(open_run(tmp_path / "out")).state == "failed"


def test_files_of_a_task_that_never_ended_go_with_it(tmp_path: Path, curate: Any) -> None:
    """It was killed between its documents and its receipt, and then the inputs changed: no task has that name now."""
    assert curate(*normalize(tmp_path)).code == 0
    (receipt,) = tmp_path.glob("out/passes/00-normalize/*[0-9a-f].json")
    shutil.rmtree(tmp_path / "out/passes")
    shutil.rmtree(tmp_path / "out/documents")  # whose files are nobody's without their receipts
    event = Event("replaced", f"documents/{receipt.stem}.parquet", 1)
    world = World(str(tmp_path / "out"), str(tmp_path / "state"), Fault(event, "kill all"))
    assert Command(normalize(tmp_path), world).finish().code == -signal.SIGKILL
    (tmp_path / "in/a.jsonl").rename(tmp_path / "in/b.jsonl")
    done = curate(*normalize(tmp_path, "--update"))
    assert done.code == 0 and "not this run's" not in done.err
    assert not (tmp_path / f"out/documents/{receipt.stem}.parquet").exists()
    assert len(documents(tmp_path / "out/documents")) == 30


def test_workers_end_with_their_driver(tmp_path: Path, curate: Any) -> None:
    """At once: the folder may have another owner then."""
    assert curate(*normalize(tmp_path)).code == 0
    (receipt,) = tmp_path.glob("out/passes/00-normalize/*[0-9a-f].json")
    receipt.unlink()
    event = Event("replace", f"documents/{receipt.stem}.parquet", 1)
    world = World(str(tmp_path / "out"), str(tmp_path / "state"), Fault(event, "wait"))
    driver = Command(normalize(tmp_path), world)
    while not (tmp_path / "state/done").exists():
        time.sleep(0.005)
    (worker,) = driver.workers()
    driver.send(signal.SIGKILL)
    assert driver.finish().code == -signal.SIGKILL
    time.sleep(0.1)
    assert process_start(worker) in (None, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_page_is_tried_again_when_something_ends_the_parser(number: int) -> None:
    parser = Sandbox("codecs:decode", timeout=5.0, memory_bytes=1 << 30)
    assert parser.call(b"page", encoding="utf-8") == "page" and parser.child is not None
    os.kill(parser.child.pid, number)
    assert parser.call(b"page", encoding="utf-8") == "page"
    parser.close()


def test_a_damaged_record_is_written_anew_where_the_user_says_so(tmp_path: Path, curate: Any) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "one document"}])
    command = ("normalize", tmp_path / "a.jsonl", "--out", tmp_path / "out")
    assert curate(*command).code == 0
    (tmp_path / "out/run.yaml").write_bytes(b"recipe: [\x00")
    refused = curate(*command)
    assert refused.code == 2 and "add --update: it is written anew" in " ".join(refused.err.split())
    done = curate(*command, "--update")
    assert done.code == 0 and "0 tasks ran, 1 were up to date" in done.out
    assert curate(*command).code == 0
