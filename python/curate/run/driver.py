"""Makes a planned run happen: pass after pass, only the tasks that are missing or whose inputs changed.

For every pass the driver computes the fingerprints of its tasks. A task is done when its receipt carries that
fingerprint and the files that must last are there as they were written: of 1,000 tasks with 3 invalid receipts, 3 run.
What a task reads enters its fingerprint by checksums, so a task that is made again and gives the same bytes makes
nothing else stale.

Where a task must run and what it reads was not kept, or is damaged, the tasks that make that run again first, back to
the last pass that was kept.

A run that is killed at any moment is continued by the same command: files appear whole (io/store.py), a receipt is
written after the files that it names, and names are noted before such files are made or removed (tidy.py).
"""

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.errors import (
    ConfigError,
    CurateError,
    DamageError,
    DataError,
    FatalError,
    GuardError,
    SchemaError,
)
from curate.io.inputs import Inputs, cut, list_files
from curate.io.lock import FolderLock
from curate.io.store import LocalStore, RemoteStore, Store, Written, self_test, sha256_of, write_bytes
from curate.run import fingerprints, guard, reading, resume
from curate.run.call import Call, OpWork, Work
from curate.run.estimate import forecasts
from curate.run.executor import Executor, open_executor
from curate.run.funnel import Funnel
from curate.run.manifest import Output, Receipt, RunFolder
from curate.run.memory import Budget, lasting_objects
from curate.run.outcome import Outcome, Watcher
from curate.run.plan import Op, Pass, Plan, Source, make_plan
from curate.run.reads import write_index
from curate.run.recipe import Recipe
from curate.run.tidy import FOREIGN_SHOWN, note_begun, note_stale, tidy
from curate.stages.protocol import SideFile

THREADS = 16  # requests to an object store at once, when files or receipts are looked at
ATTEMPTS = 3  # at a task that finds what it reads damaged; the last one's DamageError is a failure of the run


def prepare(recipe: Recipe, out: str | Path | None = None, scratch: str | Path | None = None) -> tuple[Plan, Inputs]:
    """List the inputs and make the plan; `out` and `scratch` are where the run will write."""
    found = list_files(recipe.inputs, out, scratch)
    return make_plan(recipe, tuple(cut(found.files, recipe.limit)), ids_may_repeat=found.ids_may_repeat), found


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    scratch: str | Path | None = None,
    workers: int = 1,
    executor: str = "local",
    memory: int | None = None,
    update: bool = False,
    take_over: bool = False,
    verify: bool = False,
    watcher: Watcher | None = None,
) -> Outcome:
    """Run or continue a recipe in `out`. Workers, executor and memory decide how fast, never what comes out.

    `memory` is in bytes, for all processes together; None is three quarters of the machine's. `verify` reads every
    committed file again, not only those whose size or time changed. Tasks that fail leave the others running and are
    listed in the outcome. Raises ConfigError, ResumeError (a folder of another recipe, without `update`), LockError
    (another process works there), GuardError (a step kept a share of rows that it should not), FatalError where nothing
    can go on (a full disk).
    """
    folder = RunFolder.at(out, scratch)
    plan, inputs = prepare(recipe, folder.products.name, None if folder.one_store else folder.scratch.name)
    budget = Budget(memory, workers, plan.resources, plan.n_tasks)
    with locked(folder, "curate run", take_over=take_over) as taken:
        self_test(folder.products)
        if not folder.one_store:
            self_test(folder.scratch)
        old = folder.run_yaml(renew=update)
        user_files = resume.UserFiles(old)
        for step in recipe.steps:  # a file that is not there is told before any work
            for paths in step.stage.files(step.config).values():
                for path in paths:
                    user_files.get(path, step.name)
        resume.check_resume(folder, old, recipe, inputs.files, update=update)
        # Written before the first pass: from then on the folder is known as that of this recipe.
        record = {"recipe": recipe.resolved(), "libraries": fingerprints.libraries_of(plan),
                  "files": user_files.record(), "inputs": {file.rel: file.stamp for file in inputs.files}}  # fmt: skip
        if old is None or {key: old.get(key) for key in record} != record:
            folder.write_run_yaml(record)
        known = [*taken, *inputs.warnings, *plan.warnings]
        if watcher:
            watcher.warn(known)
            watcher.expect(forecasts(plan, inputs.files, budget))
        with open_executor(executor, budget.workers) as pool:
            driver = Driver(plan, folder, pool, watcher, budget, user_files, verify=verify)
            driver.outcome.warnings += known
            return driver.run()


@contextlib.contextmanager
def locked(folder: RunFolder, command: str, *, take_over: bool = False) -> Iterator[list[str]]:
    """Own a run's folder, and its scratch folder, where another run may have its files too; gives warnings. LockError
    where another process owns one of them."""
    with contextlib.ExitStack() as held:
        warnings = []
        for store in [folder.products] if folder.one_store else [folder.products, folder.scratch]:
            warnings += held.enter_context(FolderLock(store, command, take_over)).warnings
        yield warnings


class Driver:
    """One invocation. `receipts[i]` holds the valid receipts of pass i, by task.

    A receipt joins `receipts` when it is found valid or its task ended. Passes run in order, so that when pass i begins
    every receipt that its tasks depend on is there, or its task failed.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        executor: Executor,
        watcher: Watcher | None,
        budget: Budget,
        user_files: resume.UserFiles,
        *,
        verify: bool = False,
    ) -> None:
        self.plan, self.folder, self.executor, self.watcher, self.budget = plan, folder, executor, watcher, budget
        self.user_files, self.verify_all = user_files, verify
        self.receipts: list[dict[str, Receipt]] = [{} for _ in plan.passes]
        self.sound: set[str] = set()  # files that this invocation wrote, or has hashed
        self.outcome = Outcome()
        self.input_of = {task.id: task for task in plan.inputs}
        self.readers = fingerprints.readers_of(plan)
        # Ids of each tasks are hashes; `order` is their order in the sorted inputs.
        self.order = {task.id: place for place, task in enumerate(plan.inputs)}
        # (pass, op, channel) of what any pass reads whole: small files, which stay so that later passes can run again.
        self.read_whole = {(s.pass_index, s.op, s.channel.name) for p in plan.passes for s in p.sides.values()}
        # Over all steps: a step before redact may not write into rejects what redact will replace.
        self.hidden = sorted({kind for step in plan.recipe.steps for kind in step.stage.hides(step.config)})
        self.common: dict[int, str] = {}  # pass -> hash of what all its tasks depend on

    def run(self) -> Outcome:
        """All passes, then the end.

        After failures that lie in the input (DataError, SchemaError) the next pass runs for the tasks that came out.
        Any other failure ends the run after its pass, and so does a pass of which no task came out.
        """
        reached = True
        self.folder.products.delete("funnel.json")  # until the end, the run is unfinished
        try:
            for p in self.plan.passes:
                self._run_pass(p)
                if any(not isinstance(f, DataError | SchemaError) for f in self.outcome.failures):
                    reached = False
                    break  # a fault that is not the input's: stop here, and the same command continues
                if self.outcome.failures and not self.receipts[p.index]:
                    reached = False
                    break
                read_whole = not self.outcome.failures and self.plan.recipe.limit is None
                self.outcome.warnings += reading.check_names(self.receipts[p.index].values(), whole=read_whole)
                if not self.outcome.failures:
                    guard.check_reading(p, self.receipts[p.index], self.plan.recipe, self.folder)
                guard.check_failures(p, self.receipts[p.index], self.plan.recipe, self.folder)
                guard.check(p, self.receipts[p.index], self.plan.recipe, self.folder)
                self.outcome.warnings += guard.idle_settings(p, self.receipts[p.index])
        except (GuardError, ConfigError) as error:
            self.outcome.failures.append(error)
            self._end(reached=False)
            raise
        self._end(reached=reached)
        return self.outcome

    def _end(self, *, reached: bool) -> None:
        """Tidy the folder where all passes were reached, sum the receipts, write funnel.json.

        funnel.json is written last: a folder that has it was not interrupted (run/status.py, io/listing.py).
        """
        if reached:
            self._tidy()
        for made in self.receipts:
            self.outcome.warnings += reading.put_aside(made.values())
            for receipt in made.values():
                self.outcome.warnings += [*receipt.reader.get("warnings", []), *receipt.notes]
        self.outcome.came_out = bool(self.receipts[0])
        ops = [(op.name, op.step.stage, op.step.config) for p in self.plan.passes for op in p.ops]
        units = {(op, rule): unit for op, stage, config in ops for rule, unit in stage.rules(config).items()}
        limits = {(op, rule): limit for op, stage, config in ops for rule, limit in stage.limits(config).items()}
        self.outcome.funnel = Funnel.of(self.plan.passes, self.receipts, self.outcome.failures, units, limits)
        write_bytes(self.folder.products, "funnel.json", json.dumps(self.outcome.funnel.to_json(), indent=1).encode())

    # -- one pass --------------------------------------------------------------------------------------------

    def _run_pass(self, p: Pass) -> None:
        """Find out which tasks of a pass are done, and run the others.

        The order of writing is what a killed run is continued by. plan.json says which tasks there are and begun.json
        which names they give, before any of them starts. stale.json takes over the names in a receipt before the
        receipt goes. The receipt of an old fingerprint goes before its task replaces the files that it names.
        """
        allowed = self.plan.recipe.allow_code
        ops = [fingerprints.of_op(op, self._user_files(op), allowed) for op in p.ops]
        self.common[p.index] = fingerprints.of_pass(p, self.plan, ops, self.receipts, self.hidden)
        tasks = self._tasks(p)
        wanted = {task: self._fingerprint(p, task) for task in tasks}
        damaged: list[str] = []
        with lasting_objects():
            read = self._map(lambda task: self.folder.receipt(p.name, task, damaged), tasks)
        found = dict(zip(tasks, read, strict=True))
        self.outcome.warnings += [f"{path} was damaged (a receipt); its task runs again" for path in damaged]
        valid = [r for task, r in found.items() if r and r.fingerprint == wanted[task]]
        kept = {r.task: r for r in self._settled(p, valid)}
        self.receipts[p.index].update(kept)
        todo = [task for task in tasks if task not in kept]
        self._write_plan(p, wanted)
        if todo:
            note_begun(self.folder, p, todo, [r for r in found.values() if r])
        replaced = [r for task in todo if (r := found[task])]
        if replaced:
            note_stale(self.folder, replaced)
            for receipt in replaced:
                self.folder.products.delete(self.folder.receipt_path(p.name, receipt.task))
        self._execute(p, todo, done=len(kept))
        self.outcome.ran[p.name] = len(todo)
        self.outcome.current[p.name] = len(kept)

    def _map(self, function: Any, items: Sequence[Any]) -> list[Any]:
        """`function` of each item; many at once where each is a request to an object store."""
        if isinstance(self.folder.products, RemoteStore) and len(items) > 1:
            with ThreadPoolExecutor(THREADS) as threads:
                return list(threads.map(function, items))
        return [function(item) for item in items]

    def _write_plan(self, p: Pass, wanted: dict[str, str]) -> None:
        """Write the plan.json of a pass where it changed: what `curate status` measures the receipts against."""
        inputs = [[task.id, fingerprints.slices(task)] for task in self.plan.inputs] if p.from_inputs else p.upstream
        data = {"inputs": inputs, "tasks": list(wanted), "partitions": self.plan.partitions, "fingerprints": wanted}
        text = json.dumps(data).encode()
        path = self.folder.plan_path(p.name)
        if self.folder.products.stat(path) is None or self.folder.products.read(path) != text:
            write_bytes(self.folder.products, path, text)

    def _tasks(self, p: Pass) -> list[str]:
        """The pass's tasks; an each task whose upstream failed is left out."""
        tasks = self.plan.task_ids(p.index)
        if p.shape == "each":
            needed = {*([p.documents_from] if p.documents_from is not None else []),
                      *(source.pass_index for source in p.own.values())}  # fmt: skip
            tasks = [task for task in tasks if all(task in self.receipts[index] for index in needed)]
        return tasks

    def _fingerprint(self, p: Pass, task: str) -> str:
        given = self.input_of.get(task)
        return fingerprints.of_task(p, task, self.common[p.index], given, self.receipts, self.readers)

    # -- files that are there --------------------------------------------------------------------------------

    def _settled(self, p: Pass, receipts: Sequence[Receipt]) -> Iterator[Receipt]:
        """The receipts whose lasting files are there as they were written.

        Files that only later passes read may be gone: they are looked at when a task is to read them (`_revive`).
        """
        receipts = [self._moved(p, receipt) for receipt in receipts]
        files = [(store, file) for receipt in receipts for store, file in self._lasting(p, receipt)]
        bad = self._damaged(files, trust_stamps=not self.verify_all)
        for receipt in receipts:
            if not any(file.path in bad for _, file in self._lasting(p, receipt)):
                yield receipt

    def _moved(self, p: Pass, receipt: Receipt) -> Receipt:
        """The receipt, its documents moved where they belong now: another pass may have become the last.

        The file moves first and the receipt is rewritten after it. A run that is killed between the two finds no file
        under the receipt's name, and its task runs again if the file is needed.
        """
        wanted = self._documents_out(p, receipt.task)
        moved = {}
        for lane, file in receipt.documents.items():
            path = wanted.get(lane, file.path)
            if path == file.path:
                continue
            target = self.folder.store(p.kept)
            source = next((s for s in (self.folder.products, self.folder.scratch) if s.stat(file.path)), None)
            if source is not None:
                if source is target:
                    target.move(file.path, path)
                else:
                    write_bytes(target, path, source.read(file.path))
                    source.delete(file.path)
                found = target.stat(path)
                moved[lane] = replace(file, path=path, stamp=found.stamp if found else "")
        if moved:
            receipt.documents.update(moved)
            self.folder.write_receipt(p.name, receipt)
        return receipt

    def _lasting(self, p: Pass, receipt: Receipt) -> Iterator[tuple[Store, Written]]:
        """The files of a receipt that stay when the run has ended.

        These are products and rejects, documents that are kept, and what part and all tasks made for passes that read
        it whole. With `keep: all` it is every file.
        """
        for file in receipt.documents.values():
            if p.kept:
                yield self.folder.products, file
        if receipt.rejects:
            yield self.folder.products, receipt.rejects
        for output in receipt.outputs:
            whole = p.shape != "each" and (p.index, output.op, output.channel) in self.read_whole
            if output.product or whole or self.plan.recipe.keep == "all":
                yield self.folder.store(output.product), output.file

    def _damaged(self, files: Sequence[tuple[Store, Written]], *, trust_stamps: bool) -> set[str]:
        """Paths of the files that are missing or not what was written; damage is told as a warning.

        A file whose size and stamp are those of the receipt is taken for sound where `trust_stamps`; every other one
        is hashed, once an invocation. On a disk its size and stamp are looked at again whenever it is to be read.
        """

        def look(entry: tuple[Store, Written]) -> str | None:
            """What size and stamp tell: "" where the file is sound, None where its bytes must be hashed."""
            store, file = entry
            sound = file.path in self.sound
            if sound and isinstance(store, RemoteStore):
                return ""
            found = store.stat(file.path)
            if found is None:
                return "missing"
            if found.bytes != file.bytes:
                return f"it has {found.bytes:,} bytes, and {file.bytes:,} were written"
            return "" if (trust_stamps or sound) and file.stamp and found.stamp == file.stamp else None

        def hashed(entry: tuple[Store, Written]) -> str:
            store, file = entry
            if sha256_of(store, file.path) != file.sha256:
                return "its bytes are not those that were written"
            self.sound.add(file.path)
            return ""

        seen = dict(zip(files, self._map(look, files), strict=True))
        unknown = [entry for entry, what in seen.items() if what is None]
        remote = any(isinstance(store, RemoteStore) for store, _ in unknown)
        if unknown:
            with ThreadPoolExecutor(THREADS if remote else self.budget.workers) as threads:
                seen.update(zip(unknown, threads.map(hashed, unknown), strict=True))
        bad = {file.path: what for (_, file), what in seen.items() if what}
        for path, what in bad.items():
            if what != "missing":
                self.outcome.warnings.append(f"{path} was damaged ({what}); it has been made again")
        return set(bad)

    # -- running ---------------------------------------------------------------------------------------------

    def _execute(self, p: Pass, tasks: Sequence[str], *, done: int = 0, again: bool = False) -> None:
        """Run these tasks; what they read is made again first where it is gone.

        `again`: they ran before, and only their files are needed. Tasks that found what they read damaged run again,
        ATTEMPTS times in all: the damaged file is no longer held for sound, so `_revive` hashes it and makes it again.
        """
        if not tasks:
            return
        if self.watcher:
            self.watcher.begin(p.name, len(tasks), done)
        for attempt in range(ATTEMPTS):
            damaged = self._attempt(p, tasks, again=again, last=attempt + 1 == ATTEMPTS)
            tasks = [task for task, _ in damaged]
            if not damaged:
                break
            self.sound -= {error.path for _, error in damaged}
            for path, what in {(error.path, error.what) for _, error in damaged}:
                self.outcome.warnings.append(f"{path} was damaged ({what}); it has been made again")
        if self.watcher:
            self.watcher.end()

    def _attempt(self, p: Pass, tasks: Sequence[str], *, again: bool, last: bool) -> list[tuple[str, DamageError]]:
        """Run the tasks; returns those that found a file that they read damaged. On the `last` attempt these count as
        failures. A FatalError is raised at once."""
        self._revive(p, tasks)
        work, version = self._work(p)
        damaged: list[tuple[str, DamageError]] = []
        for call, result in self.executor.run(self._calls(p, tasks, work, version)):
            if isinstance(result, FatalError):
                raise result
            if isinstance(result, DamageError) and not last:
                damaged.append((call.task, result))
            elif isinstance(result, CurateError):
                self.outcome.failures.append(result)
            else:
                before = self.receipts[p.index].get(call.task)
                if again and p.shape == "each" and before and before.content() != result.content():
                    self.outcome.warnings.append(f"{call.title}: made again, it gave other bytes than before")
                self.receipts[p.index][call.task] = result
                self.sound |= {path for path, _ in result.content()}
                if self.watcher:
                    self.watcher.task(result)
                done = self.receipts[p.index]
                if len(done).bit_count() == 1:  # 1, 2, 4, 8 … tasks: looking does not grow with their square
                    guard.check_failures(p, done, self.plan.recipe, self.folder)
        return damaged

    def _revive(self, p: Pass, tasks: Sequence[str]) -> None:
        """Make again what these tasks read and what is not there, or not as it was written.

        Files that an earlier invocation wrote are hashed before they are read: a stamp that is right is not enough for
        what the results depend on. `aligned` passes are read task by task, so only the same tasks are looked at; of
        others, all.
        """
        for index in p.upstream:
            up = self.plan.passes[index]
            aligned = p.shape == "each" and (
                index == p.documents_from or any(s.pass_index == index for s in p.own.values())
            )
            wanted = tasks if aligned else list(self.receipts[index])
            files = {task: list(self._read_of(p, index, self.receipts[index][task])) for task in wanted}
            bad = self._damaged([entry for found in files.values() for entry in found], trust_stamps=False)
            missing = [task for task, found in files.items() if any(file.path in bad for _, file in found)]
            self._execute(up, missing, again=True)

    def _read_of(self, p: Pass, index: int, receipt: Receipt) -> Iterator[tuple[Store, Written]]:
        """The files of an upstream receipt that pass `p` reads."""
        if index == p.documents_from:
            store = self.folder.store(self.plan.passes[index].kept)
            yield from ((store, file) for file in receipt.documents.values())
        for names in (p.reads, p.sides, p.own):
            for source in names.values():
                if source.pass_index == index:
                    for output in receipt.of(source.op, source.channel.name):
                        yield self.folder.store(output.product), output.file

    # -- what workers are told -------------------------------------------------------------------------------

    def _work(self, p: Pass) -> tuple[str, str]:
        """Write the pass's work; returns its path and a version of it that no call had before: workers of a cluster
        may know another run."""
        up = self.plan.passes[p.documents_from] if p.documents_from is not None else None
        work = Work(
            out=self.folder.address(product=True),
            scratch=None if self.folder.one_store else self.folder.address(product=False),
            pass_name=p.name,
            shape=p.shape,
            ops=[self._op_work(p, op) for op in p.ops],
            partitions=self.plan.partitions,
            records_reading=p.records_reading,
            reads_products=bool(up and up.kept),
            writes_products=p.kept,
            keep_text=self.plan.recipe.keep_text,
            hidden=self.hidden,
            allow_code=list(self.plan.recipe.allow_code),
        )
        rel = work.write(self.folder.scratch)
        return str(self.folder.scratch.local(rel).absolute()), secrets.token_hex(8)

    def _op_work(self, p: Pass, op: Op) -> OpWork:
        """An op as workers are told. A part pass reads its channels through an index of all their shuffle files; an all
        pass reads the same channels whole, as side files."""
        sides = self._user_files(op)
        reads = {}
        for (name, channel), source in p.sides.items():
            if name == op.name:
                sides[channel] = self._channel_files(source)
        for (name, channel), source in p.reads.items():
            if name != op.name:
                continue
            if p.shape == "part":
                reads[channel] = f"passes/{p.name}/{source.op}.{source.channel.name}"
                files = [file.name for file in self._channel_files(source)]
                write_index(self.folder.scratch, reads[channel], files, self.plan.partitions)
            else:
                sides[channel] = self._channel_files(source)
        stage = op.step.stage
        return OpWork(op.name, op.step.name, op.step.stage_name, op.phase.name, stage.seen_by(op.phase, op.step.config),
                      op.step.only.model_dump(mode="json"), stage.rows(op.step.config),
                      list(stage.needs(op.step.config)), stage.presets(op.step.config), sides, reads)  # fmt: skip

    def _user_files(self, op: Op) -> dict[str, list[SideFile]]:
        """The files that the op's settings name, for the side files that the phase reads."""
        named = op.step.stage.files(op.step.config)
        return {
            name: [self.user_files.get(path, op.step.name) for path in named[key]]
            for name in op.phase.side
            if (key := name.rpartition(".")[2]) in named
        }

    def _channel_files(self, source: Source) -> list[SideFile]:
        """The files of a channel, in task order: the order of the inputs, or the number of a part task."""
        made = self.receipts[source.pass_index]
        tasks = (
            sorted(made, key=lambda task: self.order.get(task, 0)) if made.keys() <= self.order.keys() else sorted(made)
        )
        return [_side_file(task, output) for task in tasks for output in made[task].of(source.op, source.channel.name)]

    def _calls(self, p: Pass, tasks: Iterable[str], work: str, version: str) -> Iterator[Call]:
        """The calls of these tasks, each made when the executor asks for it, so that few exist at once."""
        for number, task in ((self._number(p, task), task) for task in tasks):
            own = {
                f"{op}/{channel}": [
                    _side_file(task, o) for o in self.receipts[s.pass_index][task].of(s.op, s.channel.name)
                ]
                for (op, channel), s in p.own.items()
            }
            given = self.input_of.get(task)
            compared = given is not None and given.against  # documents of an earlier pass hold nothing of these
            made = self.receipts[p.documents_from][task] if p.documents_from is not None and not compared else None
            yield Call(
                work=work,
                version=version,
                pass_name=p.name,
                task=task,
                fingerprint=self._fingerprint(p, task),
                memory=self.budget.lone_task if p.shape == "all" else self.budget.task,
                resources=p.resources,
                partition=number,
                input=given if p.from_inputs or compared else None,
                documents=made.documents if made else {},
                kind=made.kind if made else "document",
                documents_out=self._documents_out(p, task),
                own=own,
            )

    def _number(self, p: Pass, task: str) -> int:
        return int(task[1:]) if p.shape == "part" else 0

    def _documents_out(self, p: Pass, task: str) -> dict[str, str]:
        """lane -> name of the documents that a task of this pass writes; empty where it writes none."""
        given = self.input_of.get(task)
        if given is not None and given.against:
            return {}
        if p.last_documents:
            return {"main": f"documents/{task}.parquet", "heldout": f"heldout/documents/{task}.parquet"}
        if p.writes:
            folder = f"passes/{p.name}"
            return {"main": f"{folder}/{task}.parquet", "heldout": f"{folder}/{task}.heldout.parquet"}
        return {}

    # -- the end ---------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Remove what no longer belongs, and warn of foreign files; after a failure, what later tasks need stays."""
        stay = set()
        for p in self.plan.passes:
            for receipt in self.receipts[p.index].values():
                files = receipt.content() if self.outcome.failures else ()
                stay |= {path for path, _ in files} | {file.path for _, file in self._lasting(p, receipt)}
        foreign = tidy(self.folder, self.plan, stay, self.receipts)
        if foreign:
            more = len(foreign) - FOREIGN_SHOWN
            shown = ", ".join(foreign[:FOREIGN_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
            self.outcome.warnings.append(f"{self.folder.name} holds files that are not this run's; they stay: {shown}")
        if isinstance(self.folder.products, LocalStore):
            (self.folder.products.root / "documents").mkdir(exist_ok=True)


def _side_file(task: str, output: Output) -> SideFile:
    """A file of a receipt as a side file. Its path is filled in by the worker, which knows its own stores."""
    file = output.file
    place = "products" if output.product else "scratch"
    return SideFile(
        Path(file.path), file.path, file.rows, file.bytes, file.sha256, task, output.lane, output.source, place
    )
