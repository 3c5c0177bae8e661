"""What disturbs a run, by seed: processes that end, a full disk, damage, other inputs, clocks, owners, people."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from faults.case import CHILD, RUNS, Case, files
from faults.seam import Command, Event, Fault, World, backdate, change_input, children, flip

Happening = Callable[[Case], None]


@dataclass(frozen=True)
class Kind:
    name: str
    happen: Happening
    of: tuple[str, str] = ("", "")  # steps and `keep` of its run; drawn where none are given


TURNS: list[Kind] = []
"""The kind of a seed is that at the place (seed modulo the number of turns)."""


def kind(turns: int = 1, of: tuple[str, str] = ("", "")) -> Callable[[Happening], Happening]:
    def add(happen: Happening) -> Happening:
        TURNS.extend([Kind(happen.__name__, happen, of)] * turns)
        return happen

    return add


def kind_of(seed: int) -> Kind:
    return TURNS[seed % len(TURNS)]


# -- processes end -------------------------------------------------------------------------------------------


@kind(3)
def killed_at_random_moments(case: Case) -> None:
    """The driver alone, or the run with all its processes, one to three times; then it goes on at once."""
    locked = False
    for _ in range(case.rng.randint(1, 3)):
        number = case.rng.choice([signal.SIGKILL, signal.SIGTERM])
        group = case.rng.random() < 0.5
        command = case.start()
        if command.wait(case.rng.uniform(0.02, case.calm.seconds)) is None:
            command.send(number, group=group)
            case.tell(f"{number.name} to {'all' if group else 'the driver'}")
        done = case.checked(command.finish())
        assert not locked or "was taken over" in done.err or done.code < 0
        locked = (case.out / "run.lock").exists()
        if (case.out / "run.yaml").exists() and case.rng.random() < 0.2:
            case.add_foreign()
    case.settle(*(["was taken over"] if locked else []))


@kind(4)
def killed_at_an_event(case: Case) -> None:
    """Between data and receipt, between two files of a task, in the middle of a file: one process, or all."""
    event = case.event("open", "write", "sync", "replace", "replaced")
    do = case.rng.choice(["kill", "end", "kill all", "end all"])
    done = case.run(Fault(event, do))
    assert case.hit()
    if event.of_worker and not do.endswith("all"):
        assert done.code == 0, "a worker that is killed is replaced"
    else:
        assert done.code < 0
        if (case.out / "run.yaml").exists() and case.rng.random() < 0.3:
            case.add_foreign()
    case.settle()


@kind(2)
def worker_killed(case: Case) -> None:
    """At a random moment: the pool starts another, and the run ends well."""
    command = case.start()
    until = time.monotonic() + case.rng.uniform(0.05, case.calm.seconds)
    workers: list[int] = []
    while command.process.is_alive() and (time.monotonic() < until or not workers):
        workers = command.workers() or workers
        time.sleep(0.002)
    number = case.rng.choice([signal.SIGKILL, signal.SIGTERM])
    case.tell(f"{number.name} to a worker")
    send(case.rng.choice(workers), number)
    assert case.checked(command.finish()).code == 0
    case.settle()


@kind(2, of=CHILD)
def extraction_child_killed(case: Case) -> None:
    """What ends the child from outside says nothing about its page."""
    command = case.start()
    grown: list[int] = []
    while command.process.is_alive() and not grown:
        grown = [child for worker in command.workers() for child in children(worker)]
        time.sleep(0.002)
    time.sleep(case.rng.uniform(0.0, 0.8))
    number = case.rng.choice([signal.SIGKILL, signal.SIGTERM])
    case.tell(f"{number.name} to the child {grown[0]}")
    send(grown[0], number)
    assert case.checked(command.finish()).code == 0
    case.check()


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# -- the disk ------------------------------------------------------------------------------------------------


@kind(4)
def disk_full(case: Case) -> None:
    """At a random touch of the disk; it stays full, or something else makes room at once. Then there is room."""
    event = case.event("open", "write", "sync", "replace")
    done = case.run(Fault(event, case.rng.choice(["full", "full once"])))
    assert case.hit() and done.code == 1
    assert "the disk is full" in done.err or "No space left" in done.err
    if case.rng.random() < 0.3:
        done = case.run(Fault(Event("open", "run.lock", 1), "full"))
        assert done.code == 1 and "No space left" in done.err
    case.settle()


def damage(case: Case, path: Path, *, keep_time: bool = False) -> str:
    """Flip a byte of a file, cut it, delete it, or set its time; returns what was done."""
    before = path.stat()
    how = "flip" if keep_time else case.rng.choice(["flip", "flip", "cut", "delete"])
    if how == "flip" and before.st_size:
        flip(path, case.rng)
    elif how == "delete":
        path.unlink()
    else:
        os.truncate(path, case.rng.randrange(before.st_size) if before.st_size else 0)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    case.tell(f"{how} {path.relative_to(case.out)}" + (", its time as before" if keep_time else ""))
    return how


def is_table(name: str) -> bool:
    return name.endswith((".parquet", ".arrow"))


def is_receipt(name: str) -> bool:
    return (
        name.startswith("passes/")
        and name.endswith(".json")
        and name.rpartition("/")[2] not in ("plan.json", "work.json", "stale.json", "begun.json")
    )


@kind(5)
def committed_file_damaged(case: Case) -> None:
    """A product, a document that was kept, a receipt, a plan: found, told by name, and made again."""
    case.finished()
    told = []
    for name in case.rng.sample(sorted(case.calm.files), case.rng.randint(1, 3)):
        if name != "run.yaml":
            how = damage(case, case.out / name)
            if how != "delete" and name not in ("funnel.json",) and not name.endswith("plan.json"):
                told.append(name.rpartition("/")[2])
    if case.rng.random() < 0.2:
        case.add_foreign()
    case.settle(*told)


@kind(2)
def committed_file_damaged_without_a_trace(case: Case) -> None:
    """Neither size nor time tells: --verify-files finds it."""
    case.finished()
    name = case.rng.choice([n for n in case.calm.files if n not in ("run.yaml", "funnel.json") and "plan.j" not in n])
    damage(case, case.out / name, keep_time=True)
    case.options = ("--verify-files",)
    case.settle(name.rpartition("/")[2])


@kind(5)
def damaged_while_it_stood_still(case: Case) -> None:
    """A run was killed, and before it goes on a file that later tasks read, or another, is damaged."""
    case.interrupted()
    there = [p for p in case.out.rglob("*") if p.is_file() and p.name not in ("run.lock", "run.log", "run.yaml")]
    tables = [path for path in there if is_table(path.name)]
    for path in case.rng.sample(tables if tables and case.rng.random() < 0.7 else there, 1):
        damage(case, path, keep_time=case.rng.random() < 0.5)
    while_damaged = case.run()
    assert while_damaged.code == 0
    case.options = ("--verify-files",)
    case.settle()


@kind(3)
def damaged_while_it_ran(case: Case) -> None:
    """What one pass made is damaged when its task is done, before another reads it."""
    receipts = [e for e in case.calm.events if e.name == "replaced" and is_receipt(e.path)]
    event = case.rng.choice([e for e in receipts if case.calm.between(e.path)])
    path = case.rng.choice(case.calm.between(event.path))
    done = case.run(Fault(event, "flip", str(case.out / path)))
    assert case.hit() and done.code == 0 and f"{path} was damaged" in done.err
    case.options = ("--verify-files",)
    case.settle()


@kind(1)
def folders_deleted(case: Case) -> None:
    case.finished()
    folder = case.rng.choice(sorted({path.parent for path in case.out.rglob("*") if path.is_file()} - {case.out}))
    shutil.rmtree(folder)
    case.tell(f"deleted {folder.relative_to(case.out)}")
    case.settle()


@kind(2)
def record_damaged(case: Case) -> None:
    """run.yaml: the run goes on, or nothing is touched until the record is back or --update is given."""
    case.finished()
    path = case.out / "run.yaml"
    record = path.read_bytes()
    damage(case, path)
    before = {name: digest for name, digest in files(case.out).items() if name != "run.yaml"}
    done = case.run()
    if done.code == 2:
        assert {name: digest for name, digest in files(case.out).items() if name != "run.yaml"} == before
        done = case.run(None, "--update")
        if done.code == 2:
            path.write_bytes(record)
            case.tell("run.yaml is back")
    case.settle()


# -- inputs, clocks, owners, people --------------------------------------------------------------------------


@kind(3)
def input_changed_while_it_was_read(case: Case) -> None:
    """Told by the run that reads it; refused by the next; --update gives the bytes of a fresh run."""
    case.own_inputs()
    name = case.rng.choice(["books.jsonl", "letters.jsonl"])
    how = case.rng.choice(["append", "cut", "replace"])
    done = case.run(Fault(Event("read", name, 1), how, str(case.inputs / name)))
    assert case.hit() and done.code == 1 and f"{name}: the file changed" in done.err
    case.inputs_changed(name)


@kind(2)
def input_changed_between(case: Case) -> None:
    """Half of the run has read what was there before; the new file may bear an earlier time."""
    case.own_inputs()
    case.interrupted()
    name = case.rng.choice(["books.jsonl", "letters.jsonl"])
    how = case.rng.choice(["append", "cut", "replace"])
    change_input(case.inputs / name, how)
    case.tell(f"{how} {name}")
    if case.rng.random() < 0.5:
        backdate(case.inputs / name, timedelta(days=400))
    case.inputs_changed(name)


@kind(3)
def clock_set_back(case: Case) -> None:
    """Between two invocations, by a day: files that are newer and older than those they follow from."""
    if case.rng.random() < 0.5:
        case.interrupted()
    else:
        case.finished()
        shutil.rmtree(case.out / case.rng.choice(["documents", "rejects", "passes"]))
    clock = -86400.0 * case.rng.choice([1, 1, -1])
    if case.rng.random() < 0.5:
        case.run(Fault(case.event("write", "replace", "replaced"), "kill all"), clock=clock)
    else:
        assert case.run(clock=clock).code == 0
    case.settle()
    assert " 0 tasks ran" in f" {case.run().out.splitlines()[-1]}"


@kind(2)
def two_owners(case: Case) -> None:
    """While a run works, another `run` and `clean` are refused by its owner's name and change nothing."""
    case.workers = 1
    fault = Fault(case.event("open", "replace", "replaced", path=lambda p: p != "run.lock"), "wait")
    command = case.start(fault)
    while not case.hit():
        assert command.process.is_alive()
        time.sleep(0.005)
    before = {path: path.stat().st_mtime_ns for path in case.out.rglob("*")}
    other = World(str(case.out), str(case.folder / "other"))
    run = ["run", case.recipe, "--out", case.out]
    for arguments in (run, [*run, "--update"], ["clean", case.out]):
        done = case.checked(Command(arguments, other).finish())
        if arguments[0] == "clean" and not (case.out / "run.yaml").exists():
            continue
        assert done.code == 2 and f"process {command.pid}" in done.err and "`curate run`" in done.err
    assert {path: path.stat().st_mtime_ns for path in case.out.rglob("*") if path != case.out} == {
        path: time for path, time in before.items() if path != case.out
    }
    (case.folder / "state/go").touch()
    assert case.checked(command.finish()).code == 0
    case.check()


@kind(2)
def cleaned(case: Case) -> None:
    """`curate clean` between: temporary files go, files of other people stay."""
    case.interrupted()
    case.add_foreign()
    done = case.checked(case.start(command="clean").finish())
    assert done.code == 0 and not [path for path in case.out.rglob(".tmp-*") if path.name != ".tmp-settings"]
    case.settle()


@kind(4)
def recipe_changed(case: Case) -> None:
    """Another recipe with --update, stopped in the middle, perhaps yet another: as if it had been the first."""
    case.finished()
    for _ in range(case.rng.randint(1, 2)):
        case.turn_to(*case.rng.choice(RUNS))
        case.options = ("--update",)
        case.run(Fault(case.event("write", "replace", "replaced"), case.rng.choice(["kill all", "full"])))
    case.settle()
