"""Removing what no longer belongs to a run. Only what a receipt names, or what bears a name that only this tool
gives, is ever removed; any other file stays, and is named in a warning.

A receipt is removed before its task runs again, so what it named is first noted in passes/stale.json: a run that is
killed between the two still knows at its end which files were its own.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import takewhile

from curate.io.store import TEMPORARY_NAME, LocalStore, RemoteStore, Store, write_bytes
from curate.run.manifest import CACHE, Receipt, RunFolder
from curate.run.plan import Plan

STALE = "passes/stale.json"
FOREIGN_SHOWN = 5
_WORK = ("work.json", ".places", ".files", ".waiting")  # ends of names in a pass's folder that only the driver gives


def note_stale(folder: RunFolder, receipts: Iterable[Receipt]) -> None:
    """Note the files of these receipts, which are about to be removed."""
    paths = {path for receipt in receipts for path, _ in receipt.content()}
    known = set(stale(folder))
    if not paths <= known:
        write_bytes(folder.products, STALE, json.dumps(sorted(paths | known)).encode())


def stale(folder: RunFolder) -> list[str]:
    try:
        return [str(path) for path in json.loads(folder.products.read(STALE))]
    except (OSError, ValueError):
        return []


def product_folders(plan: Plan) -> list[str]:
    """The folders below a run that hold products, from the channels of its stages."""
    paths = [c.path for step in plan.recipe.steps for phase in step.stage.phases for c in phase.emits if c.path]
    return sorted({"documents", "rejects", "heldout", *(path.split("/")[0] for path in paths if "/" in path)})


def tidy(folder: RunFolder, plan: Plan, lasting: set[str], receipts: list[dict[str, Receipt]]) -> list[str]:
    """Remove what no longer belongs; returns the names of files that are not this tool's.

    `lasting` are the paths that stay, `receipts` those of every pass of the plan.
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
            if file.endswith(_WORK) or file == "plan.json":
                old.add(rel)
            elif file.endswith(".json") and (receipt := folder.receipt(name, file.removesuffix(".json"))):
                old |= {rel, *(path for path, _ in receipt.content())}
    for rel in sorted((accounted | old) - stay):
        for store in _stores(folder):
            store.delete(rel)
    foreign = []
    for store in _stores(folder):
        for rel in [rel for top in (*product_folders(plan), "passes") for rel in store.list(top)]:
            if TEMPORARY_NAME.match(rel.rpartition("/")[2]):
                store.delete(rel)
            elif rel not in stay and rel != STALE:
                foreign.append(rel)
        for rel in takewhile(lambda rel: "/" not in rel, store.list("")):  # on a disk, the files beside run.yaml
            if TEMPORARY_NAME.match(rel):
                store.delete(rel)
    folder.products.delete(STALE)
    _empty_cache(folder)
    return foreign


def _empty_cache(folder: RunFolder) -> None:
    """Remove the copies of objects that were mapped."""
    if not folder.one_store:
        for rel in list(folder.scratch.list(CACHE)):
            folder.scratch.delete(rel)


def _stores(folder: RunFolder) -> Iterator[Store]:
    yield folder.products
    if not folder.one_store:
        yield folder.scratch


def remove_leftovers(folder: RunFolder) -> list[str]:
    """Delete the temporary files that interrupted tasks left in a run's folders; returns their names."""
    removed = []
    for store in _stores(folder):
        tops = {rel.split("/")[0] for rel in store.list("") if "/" in rel} if isinstance(store, LocalStore) else {""}
        for top in sorted(tops | {""}):
            for rel in list(store.list(top)):
                if TEMPORARY_NAME.match(rel.rpartition("/")[2]):
                    store.delete(rel)
                    removed.append(rel)
        if isinstance(store, RemoteStore):
            removed += store.remove_uploads()
    return removed
