"""Yield guards, and settings that did nothing.

A stage expects to keep a share of its rows within a band, for example 2 % to 100 % for filter. A step that sees at
least 1,000 rows and keeps another share stops the run (GuardError, exit code 3) and shows 20 of the rows that it
dropped. A rule that is wrong for the data shows there, before hours of work are spent on what is left. `guard: off` at
a step, or for the recipe, lets the run go on; `guard: [low, high]` sets another band.

Drops that are failures of a step and no judgement of its rows (a parser that crashed) have a limit of their own. It is
looked at whenever the number of finished tasks has doubled, too, so that a parser that fails at everything is not run
over a whole crawl.

Reading has a guard too: where no document comes out of it, whatever the reason, the run stops with that reason.
"""

from collections.abc import Container, Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import GuardError
from curate.run.manifest import Receipt, RunFolder, StepCounts
from curate.run.plan import Pass
from curate.run.recipe import Recipe

LEAST_ROWS = 1_000  # that a step must see to be judged; of fewer, a share says little
RULE_ROWS = 100_000  # rows that a step must see before a rule that never fired is named in a warning
SAMPLES = 20  # dropped rows that the message of a GuardError shows


def total(name: str, receipts: Iterable[Receipt]) -> StepCounts:
    """The counts of an op, or of `read`, over all tasks, in the main lane only: a guard does not judge what happened to
    rows that an earlier step set aside."""
    found = StepCounts(name)
    for receipt in receipts:
        for count in receipt.steps:
            if count.step == name:
                found.rows_in += count.rows_in
                found.rows_out += count.rows_out
                found.untouched += count.untouched
                found.set_aside += count.set_aside
                for tally, more in (
                    (found.dropped, count.dropped),
                    (found.cut, count.cut),
                    (found.marked, count.marked),
                ):
                    for rule, n in more.items():
                        tally[rule] = tally.get(rule, 0) + n
    return found


def check(p: Pass, receipts: Mapping[str, Receipt], recipe: Recipe, folder: RunFolder) -> None:
    """Raise GuardError where a step of the pass kept a share of rows outside its band.

    The share is 1 - dropped / seen, where rows that `only` left untouched are not seen and rows that were set aside
    count as kept. The pass is committed by then, so that the run continues after it once the guard is off.
    """
    for op in p.ops:
        band = op.step.band(recipe)
        if band is None or p.shape != "each" or not op.phase.documents:
            continue
        counts = total(op.name, receipts.values())
        seen = counts.rows_in - counts.untouched
        if seen < LEAST_ROWS:
            continue
        share = 1 - sum(counts.dropped.values()) / seen
        if not band[0] <= share <= band[1]:
            dropped = sorted(counts.dropped.items(), key=lambda item: (-item[1], item[0]))
            rules = ", ".join(f"{rule} {n:,}" for rule, n in dropped[:5])
            samples = "\n".join(f"  {line}" for line in _samples(op.step.name, receipts, folder))
            raise GuardError(
                f"{op.step.name} kept {share:.1%} of {seen:,} rows, where {band[0]:.0%} to {band[1]:.0%} are expected"
                f" (dropped: {rules or 'none'}).\n{samples}\nIf that is right, set `guard: off` at the step"
                f" (--set {op.step.name}.guard=off; --guard off with a stage's own command) and run the same command"
                " with --update: it continues."
            )


def check_failures(p: Pass, receipts: Mapping[str, Receipt], recipe: Recipe, folder: RunFolder) -> None:
    """Raise GuardError where a larger share of a step's rows than its stage allows were dropped as failures."""
    for op in p.ops:
        limit = op.step.stage.failures(op.step.config)
        if limit is None or op.step.band(recipe) is None or p.shape != "each" or not op.phase.documents:
            continue
        counts = total(op.name, receipts.values())
        seen = counts.rows_in - counts.untouched
        failed = {rule: counts.dropped[rule] for rule in limit.rules if rule in counts.dropped}
        if seen < LEAST_ROWS or sum(failed.values()) <= limit.share * seen:
            continue
        samples = "\n".join(f"  {line}" for line in _samples(op.step.name, receipts, folder, failed))
        raise GuardError(
            f"{op.step.name} failed at {sum(failed.values()):,} of {seen:,} rows, where {limit.share:.1%} may fail"
            f" ({', '.join(f'{rule} {n:,}' for rule, n in failed.items())}).\n{samples}\nIf that is right, raise"
            f" {op.step.name}.{limit.setting} and run the same command with --update: it continues."
        )


def check_reading(p: Pass, receipts: Mapping[str, Receipt], recipe: Recipe, folder: RunFolder) -> None:
    """Raise GuardError where the first pass that read the inputs got no document out of them."""
    if recipe.guard == "off" or not p.records_reading:
        return
    counts = total("read", receipts.values())
    if counts.rows_out:
        return
    others: dict[str, int] = {}
    for receipt in receipts.values():
        for kind, n in receipt.reader.get("other_records", {}).items():
            others[kind] = others.get(kind, 0) + n
    seen = ", ".join(f"{n:,} {kind}" for kind, n in sorted(others.items()))
    why = "the inputs hold no rows"
    if counts.dropped:
        ranked = sorted(counts.dropped.items(), key=lambda item: (-item[1], item[0]))
        why = f"all {counts.rows_in:,} rows were dropped ({', '.join(f'{rule} {n:,}' for rule, n in ranked)})"
    samples = "".join(f"\n  {line}" for line in _samples("read", receipts, folder))
    raise GuardError(
        f"no document came out of reading: {why}{f'; not documents: {seen}' if seen else ''}.{samples}\n"
        "`curate inputs` shows how the files are read; `columns` names the column or key of the text, `format` the form"
        " of the files. If that is right, set `guard: off` in the recipe (--guard off with a stage's own command) and"
        " run the same command with --update: it continues."
    )


def _samples(
    step: str, receipts: Mapping[str, Receipt], folder: RunFolder, rules: Container[str] | None = None
) -> Iterator[str]:
    """A line each for SAMPLES rejects of the step, by these rules alone where they are given: doc_id, rule, value,
    limit, detail, and how the text begins, or the URL where there is none.

    They are spread over the tasks and, within a task, over its rejects.
    """
    files = [receipt.rejects for receipt in receipts.values() if receipt.rejects]
    left = SAMPLES
    for number, file in enumerate(files):
        # An equal part of what is left to show, for each file that is left.
        take = -(-left // (len(files) - number))
        table = pq.read_table(pa.BufferReader(folder.products.read(file.path)))
        mine = [
            row
            for row in table.to_pylist()
            if row["stage"] == step and row["action"] == "drop" and (rules is None or row["rule"] in rules)
        ]
        for row in mine[:: max(1, len(mine) // take)][:take]:
            left -= 1
            begin = " ".join((row["excerpt"] or row["url"] or "").split())[:100]
            value = "" if row["value"] is None else f" {row['value']:g}"
            limit = "" if row["limit"] is None else f" (limit {row['limit']:g})"
            yield f"{row['doc_id'].hex()[:12]} {row['rule']}{value}{limit} {row['detail'] or ''} {begin}".rstrip()
        if not left:
            return


def idle_settings(p: Pass, receipts: Mapping[str, Receipt]) -> Iterator[str]:
    """Settings of the pass's steps that met nothing: an `only` that no row matches, rules that never fired."""
    for op in p.ops:
        if p.shape != "each":
            continue
        counts = total(op.name, receipts.values())
        only = op.step.only.model_dump(mode="json", exclude_none=True)
        if only and counts.rows_in and counts.untouched == counts.rows_in:
            wanted = ", ".join(f"{key}: [{', '.join(values)}]" for key, values in only.items())
            yield f"{op.name}.only: none of {counts.rows_in:,} rows is of {wanted}; the step did nothing"
        rules = op.step.stage.rules(op.step.config)
        # What a private step looks for is in the data or not; that says nothing about its settings.
        if op.phase.documents and not op.step.stage.private and counts.rows_in - counts.untouched >= RULE_ROWS:
            fired = {*counts.dropped, *counts.cut, *counts.marked}
            never = [rule for rule in rules if rule not in fired]
            if never:
                rows = counts.rows_in - counts.untouched
                yield f"{op.step.name}: on {rows:,} rows these rules never fired: {', '.join(never)}"
