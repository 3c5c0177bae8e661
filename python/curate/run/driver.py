"""Makes a planned run happen: pass after pass, only the tasks that are missing or whose inputs changed.

For every pass: fingerprint its tasks; a task is done when its receipt carries that fingerprint and its files are
there. What it reads enters by the fingerprints of the tasks that made it, side files by their checksums. A task
also runs when one it reads from ran for the first time in this invocation. Where a task must run and the
documents it reads were not kept, the tasks that make them run again first, back to the last pass that was kept.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from curate import schema
from curate.errors import ConfigError, CurateError, DataError, ResumeError, SchemaError
from curate.io.inputs import InputFile, cut, list_files
from curate.io.write import TEMPORARY, sha256_file, write_bytes
from curate.run.inspect import forecast
from curate.run.local import LocalPool
from curate.run.manifest import PRODUCTS, ROOT_PRODUCTS, Receipt, RunFolder, differences, fingerprint, version
from curate.run.memory import Budget
from curate.run.plan import Op, Pass, Plan, make_plan
from curate.run.recipe import Recipe
from curate.run.task import Call, OpCall
from curate.stages.protocol import SideFile


class Executor(Protocol):
    """Runs calls and yields (call, receipt or error) in any order: run/local.py, later run/ray.py."""

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[Call, Receipt | CurateError]]: ...


class Watcher(Protocol):
    """What a run tells while it goes; report/progress.py shows it."""

    def expect(self, lines: Sequence[str]) -> None: ...
    def begin(self, name: str, tasks: int, done: int) -> None: ...
    def task(self, receipt: Receipt) -> None: ...
    def end(self) -> None: ...


@dataclass
class Outcome:
    """What a run did: passes' task counts, failures, warnings."""

    ran: dict[str, int] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    failures: list[CurateError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def prepare(recipe: Recipe) -> tuple[Plan, list[InputFile]]:
    """List the inputs and make the plan."""
    files = list_files(recipe.inputs)
    inputs = cut(files, recipe.limit)
    return make_plan(recipe, tuple(inputs)), files


def run(
    recipe: Recipe,
    out: Path,
    *,
    workers: int = 1,
    executor: str = "local",
    memory: int | None = None,
    update: bool = False,
    watcher: Watcher | None = None,
) -> Outcome:
    """Run or continue a recipe in `out`. Workers, executor and memory decide how fast, never what comes out.

    `memory` is in bytes, for all processes together; None is three quarters of the machine's. Raises ConfigError,
    ResumeError (a folder of another recipe, without `update`), or CurateError where nothing can go on (a full
    disk). Tasks that fail leave the others running and are listed in the outcome.
    """
    budget = Budget(memory, workers)
    plan, files = prepare(recipe)
    folder = RunFolder(out)
    for step in recipe.steps:  # a file that is not there is told before any work
        for paths in step.stage.files(step.config).values():
            for path in paths:
                _user_file(Path(path), step.name)
    check_resume(folder, recipe, files, update=update)
    libraries = sorted({library for step in recipe.steps for library in step.stage.libraries(step.config)})
    stamps = {file.rel: file.stamp for file in files}
    folder.write_run_yaml(recipe.resolved(), stamps, {name: version(name) for name in libraries})
    if watcher:
        watcher.expect(forecast(plan, files, budget))
    with _executor(executor, budget.workers) as pool:
        driver = Driver(plan, folder, pool, watcher, budget)
        return driver.run()


def _executor(name: str, workers: int) -> LocalPool:
    """The one place that knows the executors."""
    if name == "local":
        return LocalPool(workers)
    raise ConfigError(f'no executor is named "{name}"; known is: local')


def check_resume(folder: RunFolder, recipe: Recipe, files: Iterable[InputFile], *, update: bool) -> None:
    """Refuse a folder that was made with another recipe, or whose inputs changed or are gone.

    Files that are new below the same inputs go ahead: nothing that was made loses its ground.
    """
    old = folder.read_run_yaml()
    if old is None:
        if folder.root.exists() and any(folder.root.iterdir()) and not (folder.root / "passes").exists():
            raise ResumeError(f"{folder.root}: this folder is not empty and holds no run; choose another --out")
        return
    if update:
        return
    changed = differences(old["recipe"], recipe.resolved())
    if changed:
        lines = [f"  {key}: {_short(a)} -> {_short(b)}" for key, a, b in changed[:10]]
        raise ResumeError(
            f"{folder.root}: this folder holds a run of another recipe:\n" + "\n".join(lines)
            + "\nAdd --update to go ahead: the steps that depend on this run again, and what no longer belongs"
            " is removed. Or choose another --out."
        )  # fmt: skip
    now = {file.rel: file.stamp for file in files}
    gone = [
        f"  {rel}: {'changed' if rel in now else 'gone'}"
        for rel, stamp in old["inputs"].items()
        if now.get(rel) != stamp and stamp != "unreadable"
    ]
    if gone:
        more = f"\n  and {len(gone) - 10} more" if len(gone) > 10 else ""
        raise ResumeError(
            f"{folder.root}: inputs of this run are not what they were:\n" + "\n".join(gone[:10]) + more
            + "\nAdd --update to go ahead: their tasks and what reads them run again."
        )  # fmt: skip


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


class Driver:
    """One invocation. `receipts[i]` holds the valid receipts of pass i, by task."""

    def __init__(
        self, plan: Plan, folder: RunFolder, executor: Executor, watcher: Watcher | None, budget: Budget
    ) -> None:
        self.plan, self.folder, self.executor, self.watcher, self.budget = plan, folder, executor, watcher, budget
        self.receipts: list[dict[str, Receipt]] = [{} for _ in plan.passes]
        self.fresh: list[set[str]] = [set() for _ in plan.passes]  # ran now, without a valid receipt before
        self.outcome = Outcome()
        self.input_of = {task.id: task for task in plan.inputs}
        sources = [source for p in plan.passes for source in p.sides.values()]
        self.side_roles = {f"{source.op}/{source.channel.name}" for source in sources}
        self.sides: dict[tuple[int, str, str], tuple[SideFile, ...]] = {}

    def run(self) -> Outcome:
        for p in self.plan.passes:
            self._run_pass(p)
            if any(not isinstance(f, DataError | SchemaError) for f in self.outcome.failures):
                break  # a fault that is not the input's: stop here, and the same command continues
            if self.outcome.failures and not self.receipts[p.index]:
                break
            self._guard(p)
        if not self.outcome.failures:
            self._tidy()
        self._note_damage()
        write_bytes(self.folder.root / "funnel.json", json.dumps(self.funnel(), indent=1).encode())
        return self.outcome

    def _guard(self, p: Pass) -> None:
        """Where yield guards will look at a finished pass's counts and stop the run (GuardError)."""

    # -- one pass --------------------------------------------------------------------------------------------

    def _run_pass(self, p: Pass) -> None:
        for op in p.ops:
            for name in op.phase.side:
                self.sides[p.index, op.name, name] = self._side_files(p, op, name)
        common = self._common_fingerprint(p)
        fingerprints = {task: self._fingerprint(p, task, common) for task in self._tasks(p)}
        todo = []
        for task, wanted in fingerprints.items():
            receipt = self.folder.receipt(p.name, task)
            if receipt and receipt.fingerprint == wanted and not self._reads_fresh(p, task):
                receipt = self._settled(p, receipt)
                if receipt:
                    self.receipts[p.index][task] = receipt
                    continue
            todo.append(task)
        plan_file = {"inputs": self._inputs_json(p), "tasks": list(fingerprints), "partitions": self.plan.partitions,
                     "fingerprint": fingerprint(sorted(fingerprints.items()))}  # fmt: skip
        path = self.folder.passes(p.name) / "plan.json"
        text = json.dumps(plan_file, indent=1).encode()
        if not path.exists() or path.read_bytes() != text:
            write_bytes(path, text)
        self.fresh[p.index] = set(todo)
        self._execute(p, todo, fingerprints, fresh=True)
        self.outcome.ran[p.name] = len(todo)
        self.outcome.current[p.name] = len(fingerprints) - len(todo)

    def _tasks(self, p: Pass) -> list[str]:
        """The pass's tasks; an each task whose upstream failed is left out."""
        tasks = self.plan.task_ids(p.index)
        if p.shape == "each" and p.documents_from is not None:
            tasks = [task for task in tasks if task in self.receipts[p.documents_from]]
        return tasks

    def _reads_fresh(self, p: Pass, task: str) -> bool:
        if p.shape == "each":
            return p.documents_from is not None and task in self.fresh[p.documents_from]
        return any(self.fresh[index] for index in p.upstream)

    def _settled(self, p: Pass, receipt: Receipt) -> Receipt | None:
        """The receipt, if what it must have left is there; documents in another place are moved."""
        wanted = self._documents_out(p, receipt.task)
        files = dict(receipt.files)
        for lane, path in wanted.items():
            old = files.get(f"documents.{lane}")
            if old and old.path != path and (self.folder.root / old.path).exists():
                (self.folder.root / path).parent.mkdir(parents=True, exist_ok=True)
                (self.folder.root / old.path).replace(self.folder.root / path)
                files[f"documents.{lane}"] = dataclasses.replace(old, path=path)
        if files != receipt.files:
            receipt.files = files
            write_bytes(self.folder.receipt_path(p.name, receipt.task), receipt.to_json().encode())
        lasting = [file for role, file in files.items() if self._lasts(p, role)]
        return receipt if self.folder.present(lasting) else None

    def _lasts(self, p: Pass, role: str) -> bool:
        """Whether a file stays when the run has ended: products, side files, and documents that are kept."""
        if role.startswith("documents."):
            return p.kept
        if role == "rejects":
            return True
        if self.plan.recipe.keep == "all":
            return True
        name = role.partition(":")[0]
        if any(c.path for op in p.ops for c in op.phase.emits if f"{op.name}/{c.name}" == name):
            return True
        return p.shape != "each" and name in self.side_roles

    def _execute(self, p: Pass, tasks: Sequence[str], fingerprints: dict[str, str], *, fresh: bool) -> None:
        if not tasks:
            return
        self._revive_inputs(p, tasks)
        for task in tasks:
            self.folder.receipt_path(p.name, task).unlink(missing_ok=True) if fresh else None
        calls = [self._call(p, task, fingerprints[task]) for task in tasks]
        if self.watcher:
            self.watcher.begin(p.name, len(calls), len(fingerprints) - len(calls))
        for call, result in self.executor.run(calls):
            if isinstance(result, CurateError):
                if type(result) is CurateError:
                    raise result  # nothing can go on: the disk is full
                self.outcome.failures.append(result)
                continue
            before = self.receipts[p.index].get(call.task)
            if not fresh and before and _checksums(before) != _checksums(result):
                self.outcome.warnings.append(f"{call.title}: made again, it gave other bytes than before")
            self.receipts[p.index][call.task] = result
            if self.watcher:
                self.watcher.task(result)
        if self.watcher:
            self.watcher.end()

    def _revive_inputs(self, p: Pass, tasks: Sequence[str]) -> None:
        """Make again, with their old fingerprints, the upstream files that were not kept."""
        for index in {*p.upstream, *(source.pass_index for source in p.sides.values())}:
            up = self.plan.passes[index]
            wanted = tasks if p.shape == "each" and index == p.documents_from else list(self.receipts[index])
            roles = self._roles_read(p, index)
            missing = [
                task
                for task in wanted
                if not self.folder.present(
                    f for role, f in self.receipts[index][task].files.items() if role.partition(":")[0] in roles
                )
            ]
            self._execute(up, missing, {t: self.receipts[index][t].fingerprint for t in missing}, fresh=False)

    def _roles_read(self, p: Pass, index: int) -> set[str]:
        sources = [s for s in (*p.reads.values(), *p.sides.values()) if s.pass_index == index]
        roles = {f"{s.op}/{s.channel.name}" for s in sources}
        return roles | ({"documents.main", "documents.heldout"} if index == p.documents_from else set())

    # -- calls and fingerprints ------------------------------------------------------------------------------

    def _side_files(self, p: Pass, op: Op, name: str) -> tuple[SideFile, ...]:
        source = p.sides.get(f"{op.name}/{name}")
        if source is None:
            paths = op.step.stage.files(op.step.config)[name.rpartition(".")[2]]
            return tuple(_user_file(Path(path).resolve(), op.step.name) for path in paths)
        role = f"{source.op}/{source.channel.name}"
        found = []
        for _, receipt in sorted(self.receipts[source.pass_index].items(), key=self._task_order(source.pass_index)):
            for r, f in sorted(receipt.files.items()):
                if r.partition(":")[0] == role:
                    found.append(SideFile(self.folder.root / f.path, f.path, f.rows, f.bytes, f.sha256))
        return tuple(found)

    def _task_order(self, index: int) -> Callable[[tuple[str, Receipt]], int]:
        places = {task: i for i, task in enumerate(self.plan.task_ids(index))}
        return lambda item: places[item[0]]

    def _common_fingerprint(self, p: Pass) -> str:
        """What the pass's ops do and the side files they do it with: the same for all its tasks."""
        ops = []
        for op in p.ops:
            stage = op.step.stage
            sides = {name: [f.sha256 for f in self.sides[p.index, op.name, name]] for name in op.phase.side}
            libraries = {library: version(library) for library in stage.libraries(op.step.config)}
            config, only = stage.seen_by(op.phase, op.step.config), op.step.only.model_dump(mode="json")
            ops.append([stage.name, stage.version, op.phase.name, config, only, libraries, sides])
        shuffles = any(c.by for op in p.ops for c in op.phase.emits) or p.shape == "part"
        return fingerprint(schema.VERSION, ops, self.plan.partitions if shuffles else 0, self.plan.recipe.keep_text)

    def _fingerprint(self, p: Pass, task: str, common: str) -> str:
        if p.shape == "each" and p.documents_from is None:
            return fingerprint(common, self._inputs_json(p, task))
        if p.shape == "each":
            assert p.documents_from is not None
            return fingerprint(common, self.receipts[p.documents_from][task].fingerprint)
        read = [sorted((t, r.fingerprint) for t, r in self.receipts[i].items()) for i in p.upstream]
        return fingerprint(common, task, read)

    def _inputs_json(self, p: Pass, only: str | None = None) -> Any:
        """The slices that the tasks read, without their place on this machine."""
        if p.documents_from is not None or p.shape != "each":
            return [self.plan.passes[i].name for i in p.upstream]
        return [
            [
                task.id,
                task.limit,
                [{k: v for k, v in s.to_json().items() if k != "path"} for s in task.slices],
            ]
            for task in self.plan.inputs
            if only is None or task.id == only
        ]

    def _documents_out(self, p: Pass, task: str) -> dict[str, str]:
        if p.last_documents:
            return {"main": f"documents/{task}.parquet", "heldout": f"heldout/documents/{task}.parquet"}
        if p.shape == "each":
            return {
                "main": f"passes/{p.name}/{task}.parquet",
                "heldout": f"passes/{p.name}/{task}.heldout.parquet",
            }
        return {}

    def _call(self, p: Pass, task: str, wanted: str) -> Call:
        documents = {}
        if p.documents_from is not None:
            for role, file in sorted(self.receipts[p.documents_from][task].files.items(), reverse=True):
                if role.startswith("documents."):
                    documents[role.partition(".")[2]] = file.path
        return Call(
            root=str(self.folder.root),
            pass_name=p.name,
            task=task,
            shape=p.shape,
            ops=tuple(self._op_call(p, op, task) for op in p.ops),
            fingerprint=wanted,
            partitions=self.plan.partitions,
            memory=self.budget.lone_task if p.shape == "all" else self.budget.task,
            keep_text=self.plan.recipe.keep_text,
            input=self.input_of[task] if p.shape == "each" and p.documents_from is None else None,
            documents=documents,
            documents_out=self._documents_out(p, task),
        )

    def _op_call(self, p: Pass, op: Op, task: str) -> OpCall:
        reads = {}
        for name in op.phase.reads:
            source = p.reads[f"{op.name}/{name}"]
            role = f"{source.op}/{source.channel.name}"
            found = []
            for _, receipt in sorted(self.receipts[source.pass_index].items(), key=self._task_order(source.pass_index)):
                places = receipt.places.get(role)
                if role in receipt.files and places:
                    chosen = places[int(task[1:])] if p.shape == "part" else [b for part in places for b in part]
                    if chosen:
                        found.append((receipt.files[role].path, tuple(chosen)))
            reads[name] = tuple(found)
        return OpCall(
            name=op.name,
            step=op.step.name,
            stage=op.step.stage.name,
            phase=op.phase.name,
            config=op.step.stage.seen_by(op.phase, op.step.config),
            only=op.step.only.model_dump(mode="json"),
            sides={name: self.sides[p.index, op.name, name] for name in op.phase.side},
            reads=reads,
        )

    # -- the end ---------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Remove what no receipt names from the product folders, and what need not stay from the passes."""
        root = self.folder.root
        named: set[Path] = set()
        for p in self.plan.passes:
            folder = self.folder.passes(p.name)
            named |= {
                folder / "plan.json",
                *(self.folder.receipt_path(p.name, t) for t in self.receipts[p.index]),
            }
            for receipt in self.receipts[p.index].values():
                named |= {root / f.path for role, f in receipt.files.items() if self._lasts(p, role)}
        for top in (*PRODUCTS, "passes"):
            for path in sorted((root / top).rglob("*"), reverse=True):
                if path.is_dir():
                    if not any(path.iterdir()):
                        path.rmdir()
                elif path not in named:
                    path.unlink()
        for name in ROOT_PRODUCTS:
            if root / name not in named:
                (root / name).unlink(missing_ok=True)
        (root / "documents").mkdir(exist_ok=True)

    def _note_damage(self) -> None:
        for p in self.plan.passes:
            for receipt in self.receipts[p.index].values():
                self.outcome.warnings.extend(receipt.reader.get("warnings", []))
                self.outcome.warnings.extend(receipt.notes)

    def funnel(self) -> dict[str, Any]:
        """Counts a step over all tasks, in pipeline order, and the reader's; times and memory too."""
        steps: dict[str, dict[str, Any]] = {}
        reader: dict[str, Any] = {"other_records": {}, "skipped_bytes": 0, "bytes": 0}
        passes = []
        for p in self.plan.passes:
            receipts = self.receipts[p.index].values()
            for receipt in receipts:
                _add(reader, {k: v for k, v in receipt.reader.items() if k not in ("warnings", "documents")})
                for count in receipt.steps:
                    _add(steps.setdefault(count.step, {}), dataclasses.asdict(count))
            passes.append({"pass": p.name, "tasks": len(self.receipts[p.index]),
                           "seconds": round(sum(r.seconds for r in receipts), 3),
                           "peak_memory_bytes": max((r.peak_memory_bytes for r in receipts), default=0)})  # fmt: skip
        return {"steps": list(steps.values()), "reader": reader, "passes": passes,
                "failures": [str(f) for f in self.outcome.failures]}  # fmt: skip


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    """Add numbers key by key; text stays."""
    for key, value in more.items():
        if isinstance(value, dict):
            _add(total.setdefault(key, {}), value)
        elif isinstance(value, int | float):
            total[key] = round(total.get(key, 0) + value, 3)
        else:
            total[key] = value


def _user_file(path: Path, step: str) -> SideFile:
    """A file that a setting names, as a side file."""
    if not path.is_file():
        raise ConfigError(f"{step}: {path}: no such file")
    return SideFile(path, str(path), 0, path.stat().st_size, sha256_file(path))


def _checksums(receipt: Receipt) -> dict[str, str]:
    return {role: file.sha256 for role, file in receipt.files.items()}


def remove_leftovers(root: Path) -> list[Path]:
    """Delete temporary files of interrupted tasks; returns them."""
    found = [path for path in root.rglob(f"{TEMPORARY}*") if path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return found
