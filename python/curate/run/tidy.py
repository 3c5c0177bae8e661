"""Removing what no longer belongs to a run.

Only what a receipt names, or what bears a name that only this tool gives, is ever removed. Any other file stays, and is
named in a warning.

Two notes make that hold for a run that is killed. A receipt is removed before its task runs again, so the files that it
names are first noted in passes/stale.json. And a task may be killed when it has made files and has no receipt yet:
passes/<pass>/begun.json says which names it gives, before it begins.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

from curate.io.store import TEMPORARY_NAME, RemoteStore, Store, write_bytes
from curate.run.call import product_path
from curate.run.manifest import CACHE, Receipt, RunFolder
from curate.run.plan import Pass, Plan

STALE = "passes/stale.json"
BEGUN = "begun.json"
FOREIGN_SHOWN = 5
_WORK = ("work.json", ".places", ".files", ".waiting")  # ends of names in a pass's folder that only the driver gives


def note_stale(folder: RunFolder, receipts: Iterable[Receipt]) -> None:
    """Note the files of these receipts, which are about to be removed. What was noted before stays noted."""
    paths = {path for receipt in receipts for path, _ in receipt.content()}
    known = set(stale(folder))
    if not paths <= known:
        write_bytes(folder.products, STALE, json.dumps(sorted(paths | known)).encode())


def stale(folder: RunFolder) -> list[str]:
    """The names that were noted; none where there is no note, or a damaged one."""
    try:
        return [str(path) for path in json.loads(folder.products.read(STALE))]
    except (OSError, ValueError):
        return []


def note_begun(folder: RunFolder, p: Pass, tasks: Iterable[str], replaced: Iterable[Receipt]) -> None:
    """Note that these tasks begin: their ids, and the names that tasks of this pass may give.

    Names are patterns: {task} and {source} are filled in by the task, * is any text without a slash.
    """
    paths = [f"passes/{p.name}/{{task}}.*", f"rejects/{p.name}-{{task}}.parquet"]
    if p.last_documents:
        paths += ["documents/{task}.parquet", "heldout/documents/{task}.parquet"]
    for op in p.ops:
        named = [product_path(c.path, op.step.name) for c in op.phase.emits if c.path]
        paths += [*named, *(f"heldout/{path}" for path in named if "heldout" in op.phase.lanes)]
    rel = f"passes/{p.name}/{BEGUN}"
    old_paths, old_tasks, there = _begun(folder, rel)
    new = _pattern(paths, tasks := list(tasks))
    known, mine = _pattern(old_paths, old_tasks), {path for receipt in replaced for path, _ in receipt.content()}
    tops = {path.split("/")[0] for path in paths if "/" in path and not path.startswith("passes/")}
    # A file that was there under such a name, and that no task of this run gave it, is someone else's.
    found = {name for top in tops for name in folder.products.list(top) if new(name) and not known(name)} - mine
    noted = {
        "paths": sorted({*paths, *old_paths}),
        "tasks": sorted({*tasks, *old_tasks}),
        "there": sorted(found | there),
    }
    write_bytes(folder.products, rel, json.dumps(noted).encode())


def _pattern(paths: Iterable[str], tasks: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name is one that these tasks may give."""
    rules, wanted = [], frozenset(tasks)
    for path in paths:
        text = re.escape(path).replace(r"\{task\}", "(?P<task>[0-9a-z]+)", 1).replace(r"\*", "[^/]*")
        rules.append(re.compile(text.replace(r"\{source\}", "[^/]+")))

    def given(rel: str) -> bool:
        matches = (rule.fullmatch(rel) for rule in rules)
        return any(match and wanted.issuperset(match.groupdict().values()) for match in matches)

    return given


def _begun(folder: RunFolder, rel: str) -> tuple[list[str], list[str], set[str]]:
    """The (patterns, tasks, names of others) that a note holds; none where there is none, or a damaged one."""
    try:
        found = json.loads(folder.products.read(rel))
        return list(map(str, found["paths"])), list(map(str, found["tasks"])), set(map(str, found["there"]))
    except (OSError, ValueError, KeyError, TypeError):
        return [], [], set()


def _names_begun(folder: RunFolder) -> tuple[set[str], Callable[[str], bool]]:
    """Of the tasks that began: the folders that they write to, and whether a file is one that they made."""
    tops: set[str] = set()
    notes = []
    for rel in list(folder.products.list("passes")):
        if rel.endswith(f"/{BEGUN}"):
            paths, tasks, there = _begun(folder, rel)
            tops |= {path.split("/")[0] for path in paths if "/" in path}
            notes.append((_pattern(paths, tasks), there))
    return tops, lambda rel: any(given(rel) and rel not in there for given, there in notes)


def product_folders(plan: Plan) -> list[str]:
    """The folders below a run that hold products, from the channels of its stages."""
    paths = [c.path for step in plan.recipe.steps for phase in step.stage.phases for c in phase.emits if c.path]
    return sorted({"documents", "rejects", "heldout", *(path.split("/")[0] for path in paths if "/" in path)})


def tidy(folder: RunFolder, plan: Plan, lasting: set[str], receipts: list[dict[str, Receipt]]) -> list[str]:
    """Remove what no longer belongs; returns the names of files that are not this tool's.

    `lasting` are the paths that stay, `receipts` those of every pass of the plan. What goes are files that receipts
    name (those of this plan, of passes that it no longer has, and those noted as stale), notes and indexes of passes,
    and temporary files. The notes go too: at the end of a run nothing depends on them.
    """
    current = {p.name: receipts[p.index] for p in plan.passes}
    accounted = set(stale(folder))
    for made in receipts:
        accounted |= {path for receipt in made.values() for path, _ in receipt.content()}
    stay = {*lasting, *(folder.plan_path(p.name) for p in plan.passes)}
    stay |= {folder.receipt_path(name, task) for name, made in current.items() for task in made}
    old: set[str] = set()
    for store in _stores(folder):
        for rel in store.list("passes"):
            name, _, file = rel.removeprefix("passes/").rpartition("/")
            if rel in stay or not name:
                continue
            if file.endswith(_WORK) or file in ("plan.json", BEGUN):
                old.add(rel)
            elif file.endswith(".json") and (receipt := folder.receipt(name, file.removesuffix(".json"))):
                old |= {rel, *(path for path, _ in receipt.content())}
    tops, begun = _names_begun(folder)
    foreign = []
    for store in _stores(folder):
        listed = [rel for top in sorted({*product_folders(plan), *tops, "passes"}) for rel in store.list(top)]
        beside = takewhile(lambda rel: "/" not in rel, store.list(""))  # on a disk, the files beside run.yaml
        for rel in sorted({*listed, *beside} - stay - accounted - old):
            if TEMPORARY_NAME.match(rel.rpartition("/")[2]) or begun(rel):
                store.delete(rel)
            elif "/" in rel and rel != STALE:
                foreign.append(rel)
    gone = {*accounted, *old, STALE} - stay
    loose = {rel for rel in gone if "/" not in rel}
    tops = {rel.partition("/")[0] for rel in gone - loose}
    for store in _stores(folder):
        # Most of these names went long ago, or are in the other store: asking for each would take minutes.
        there = loose | gone.intersection(rel for top in tops for rel in store.list(top))
        for rel in sorted(there, key=lambda rel: (rel.startswith("passes/"), rel == STALE, rel)):  # notes go last
            store.delete(rel)
    _empty_cache(folder)
    return foreign


def _empty_cache(folder: RunFolder) -> None:
    """Remove the copies of objects that were mapped."""
    if not folder.one_store:
        for rel in list(folder.scratch.list(CACHE)):
            folder.scratch.delete(rel)


def _stores(folder: RunFolder) -> Iterator[Store]:
    """The run's stores, each once."""
    yield folder.products
    if not folder.one_store:
        yield folder.scratch


def remove_leftovers(folder: RunFolder) -> list[str]:
    """Delete the temporary files that interrupted tasks left in a run's folders; returns their names."""
    removed = []
    for store in _stores(folder):
        for rel in list(store.list("")):
            if TEMPORARY_NAME.match(rel.rpartition("/")[2]):
                store.delete(rel)
                removed.append(rel)
        if isinstance(store, RemoteStore):
            removed += store.remove_uploads()
    return removed
