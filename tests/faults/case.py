"""A run that is disturbed, and what must hold when the same command has been run to its end.

However a run was disturbed, the same command run again until it ends (a few times at most) gives the folder that an
undisturbed run gives: the same files with the same bytes, the same counts, and nothing else. On the way no stack
trace is shown, exit codes are those of errors.py, and a damaged file is named.
"""

import hashlib
import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import corpus
from curate.run.status import open_run, status_of
from faults.seam import Command, Event, Fault, Finished, World

AGAIN = 5  # times that the same command may be needed
DEDUP = "extract, normalize, exact_dedup, near_dedup, line_dedup, filter, holdout: {share: 0.1}"
TOKENS = "extract, filter, holdout: {share: 0.1}, train_tokenizer: {vocab_size: 300}, tokenize, mix"
RUNS = (
    (DEDUP, "extract"),
    (TOKENS, "none"),
    (DEDUP.replace("near_dedup", "near_dedup: {min_jaccard: 0.9}").replace("line_dedup", "redact"), "all"),
)
"""Steps and `keep` of the runs that are disturbed."""

CHILD = ("extract: {extractor: resiliparse}, normalize", "none")  # pages are parsed in a child process
FIGURES = ("seconds", "peak_memory_bytes", "stamp")  # of a receipt or a funnel, that differ between equal runs


def write_inputs(folder: Path) -> None:
    """Two crawls and two files of documents, each a task of its own; one has lines that are dropped."""
    texts = corpus.articles(60)
    for number, name in enumerate(("web", "news")):
        pages = [
            (f"https://example.test/{name}/{i}", corpus.page(text, f"Page {i}"))
            for i, text in enumerate(texts[number * 15 : number * 15 + 15])
        ]
        corpus.write_warc(folder / f"{name}.warc.gz", pages)
    corpus.write_jsonl(folder / "books.jsonl", ({"text": text} for text in texts[30:45]))
    corpus.write_jsonl(
        folder / "letters.jsonl", ({"text": t, "n": i} for i, t in enumerate(["too short", *texts[45:]]))
    )


ROWS = 61


def recipe(inputs: Path, steps: str, keep: str) -> str:
    entries = "".join(f"  - {{path: {path}, source: {path.name.split('.')[0]}}}\n" for path in sorted(inputs.iterdir()))
    listed = "".join(f"  - {step}\n" for step in steps.split(", "))
    return f"version: 1\ninputs:\n{entries}keep: {keep}\nsteps:\n{listed}"


def files(out: Path) -> dict[str, str]:
    """Every file of a run's folder (but its log) and the checksum of its content; of receipts and funnel without the
    figures that differ between equal runs."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not path.is_file() or name == "run.log":
            continue
        data = path.read_bytes()
        if path.suffix == ".json" and (name.startswith("passes/") or name == "funnel.json"):
            facts = json.loads(data)
            facts.pop("sha256", None)  # a receipt's own, over its figures too
            data = json.dumps(_without_figures(facts)).encode()
        elif name == "run.yaml":
            data = data.partition(b"\ninputs:")[0]  # times of the input files
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def _without_figures(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_figures(v) for k, v in value.items() if k not in FIGURES}
    return [_without_figures(v) for v in value] if isinstance(value, list) else value


class Calm:
    """An undisturbed run of a recipe: what it gives, and the events on its way."""

    def __init__(self, folder: Path, inputs: Path, steps: str, keep: str) -> None:
        self.steps, self.keep = steps, keep
        folder.mkdir(parents=True)
        path = folder / "recipe.yaml"
        path.write_text(recipe(inputs, steps, keep))
        world = World(str(folder / "out"), str(folder / "state"), log=True)
        start = time.monotonic()
        done = Command(["run", path, "--out", folder / "out", "--workers", 2], world).finish()
        self.seconds = time.monotonic() - start
        assert done.code == 0 and "Traceback" not in done.err, done
        self.out = folder / "out"
        self.files = files(self.out)
        rows = (line.split("\t") for line in (folder / "state/events").read_text().splitlines())
        self.events = [Event(name, path, int(count)) for name, path, count in rows]
        self._check_nothing_lost()

    def _check_nothing_lost(self) -> None:
        """Every row of the inputs is a document, set aside or dropped, exactly once."""
        ends = [row["doc_id"] for path in self.out.glob("documents/*") for row in pq.read_table(path).to_pylist()]
        ends += [r["doc_id"] for path in self.out.glob("heldout/documents/*") for r in pq.read_table(path).to_pylist()]
        rejects = [row for path in self.out.glob("rejects/*") for row in pq.read_table(path).to_pylist()]
        ends += [row["doc_id"] for row in rejects if row["action"] == "drop"]
        assert len(ends) == len(set(ends)) == ROWS

    def between(self, receipt: str) -> list[str]:
        """The files of a task that later tasks read."""
        facts = json.loads((self.out / receipt).read_bytes())
        made = [*facts["documents"].values(), *(output["file"] for output in facts["outputs"])]
        return sorted(file["path"] for file in made if file["path"].startswith("passes/"))


class Calms:
    """Undisturbed runs, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[tuple[str, str], Calm] = {}

    @cached_property
    def inputs(self) -> Path:
        write_inputs(self.folder / "in")
        return self.folder / "in"

    def of(self, steps: str, keep: str) -> Calm:
        key = (steps, keep)
        if key not in self.made:
            self.made[key] = Calm(self.folder / f"calm{len(self.made)}", self.inputs, steps, keep)
        return self.made[key]


@dataclass
class Case:
    """One scenario while it happens."""

    folder: Path
    calms: Calms
    rng: random.Random
    of: tuple[str, str] = ("", "")  # steps and `keep`; drawn where none are given
    options: tuple[str, ...] = ()
    story: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)  # files that are not the run's: name -> content

    def __post_init__(self) -> None:
        self.workers = self.rng.choice([1, 2, 2])
        self.inputs = self.calms.inputs
        self.out, self.recipe = self.folder / "out", self.folder / "recipe.yaml"
        self.turn_to(*(self.of if self.of[0] else self.rng.choice(RUNS)))

    def tell(self, text: object) -> None:
        self.story.append(str(text))

    def turn_to(self, steps: str, keep: str) -> None:
        """This recipe from now on, and what it gives undisturbed."""
        self.calm = self.calms.of(steps, keep)
        self.write_recipe()
        self.tell(f"keep: {keep}, {self.workers} workers, {steps}")

    def write_recipe(self) -> None:
        self.recipe.write_text(recipe(self.inputs, self.calm.steps, self.calm.keep))

    def own_inputs(self) -> None:
        """Inputs that may be changed."""
        self.inputs = self.folder / "in"
        shutil.copytree(self.calms.inputs, self.inputs)
        self.write_recipe()

    # -- commands

    def start(self, fault: Fault | None = None, *extra: str, clock: float = 0.0, command: str = "run") -> Command:
        for name in ("done", "full", "go"):
            (self.folder / "state" / name).unlink(missing_ok=True)
        if fault:
            self.tell(fault)
        arguments: list[object] = ["clean", self.out]
        if command == "run":
            arguments = ["run", self.recipe, "--out", self.out, "--workers", self.workers, *self.options, *extra]
        return Command(arguments, World(str(self.out), str(self.folder / "state"), fault, clock=clock))

    def run(self, fault: Fault | None = None, *extra: str, clock: float = 0.0) -> Finished:
        return self.checked(self.start(fault, *extra, clock=clock).finish())

    def checked(self, done: Finished) -> Finished:
        """Whatever happens: no stack trace, and an exit code that is one."""
        self.tell(done)
        assert "Traceback" not in done.err and "Error:" not in done.err.replace("OSError:", "")
        assert done.code in (0, 1, 2, -signal.SIGKILL, -signal.SIGTERM)
        assert (done.code <= 0) or "error: " in done.err, "a failure is told"
        return done

    def hit(self) -> bool:
        """Whether the fault has happened."""
        return (self.folder / "state/done").exists()

    def settle(self, *told: str, code: int = 0) -> None:
        """Run the same command until it ends well, then hold what is there against the undisturbed run. `told` are
        words that stood in some message on the way; `code` is what the first exit code must be."""
        said = ""
        for attempt in range(AGAIN):
            done = self.run()
            said += f" {done.err}"
            if attempt == 0:
                assert done.code == code, f"exit {done.code}, and {code} was due"
            if done.code == 0:
                break
        assert done.code == 0, f"the same command has not ended well after {AGAIN} times"
        for words in (*told, *self.foreign, *(["passes/link"] if self.foreign else [])):
            assert words in said, f"no word of: {words}"
        self.check()

    def check(self, expected: dict[str, str] | None = None) -> None:
        found = files(self.out)
        wanted = dict(self.calm.files if expected is None else expected)
        for name, content in self.foreign.items():
            assert (self.out / name).read_text() == content, f"{name} is not the run's, and was touched"
            found.pop(name, None)
        if self.foreign:
            assert (self.out / "passes/link").is_symlink() and (self.folder / "elsewhere/thesis.txt").exists()
        missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        assert not missing and not more, f"missing: {missing}; left over: {more}"
        if self.inputs != self.calms.inputs:
            found.pop("run.yaml"), wanted.pop("run.yaml")  # it names the inputs
        other = sorted(name for name in wanted if found[name] != wanted[name])
        assert not other, f"other content: {other[:3]} and {len(other)} in all"
        assert status_of(open_run(self.out)).state == "finished"

    # -- what scenarios choose from

    def event(self, *names: str, path: Callable[[str], bool] = lambda path: True) -> Event:
        return self.rng.choice([e for e in self.calm.events if e.name in names and path(e.path)])

    def add_foreign(self) -> None:
        """Someone puts files of theirs into the run's folders."""
        if self.foreign:
            return
        (self.folder / "elsewhere").mkdir()
        (self.folder / "elsewhere/thesis.txt").write_text("years of work")
        self.foreign = {"documents/NOTES.md": "mine", "passes/.tmp-settings": "of another program"}
        for name, content in self.foreign.items():
            (self.out / name).parent.mkdir(parents=True, exist_ok=True)
            (self.out / name).write_text(content)
        (self.out / "passes/link").symlink_to(self.folder / "elsewhere")
        self.tell(f"foreign: {', '.join(self.foreign)}")

    def finished(self) -> None:
        """The run is there, finished and undisturbed so far."""
        shutil.copytree(self.calm.out, self.out)

    def interrupted(self) -> None:
        """A run that was killed at a moment of its second half."""
        begun = [e for e in self.calm.events if e.name in ("write", "replace", "replaced")]
        event = self.rng.choice(begun[len(begun) // 3 :])
        self.checked(self.start(Fault(event, "kill all")).finish())
        assert self.hit()

    def inputs_changed(self, name: str) -> None:
        """The same command is refused, and --update gives what a fresh run over the inputs as they are now gives."""
        refused = self.run()
        assert refused.code == 2 and f"{name}: changed" in refused.err and "--update" in refused.err
        world = World(str(self.folder / "fresh"), str(self.folder / "fresh-state"))
        fresh = Command(["run", self.recipe, "--out", self.folder / "fresh"], world).finish()
        assert self.checked(fresh).code == 0
        self.options = ("--update",)
        for _ in range(AGAIN):
            if self.run().code == 0:
                break
        self.check(files(self.folder / "fresh"))
