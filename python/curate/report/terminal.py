"""What `run/` knows, as text for an 80-column terminal. Facts come in, text goes out; nothing is looked up or computed.

Each of the public functions renders the facts of one command. Tables and paragraphs are made by curate.console, which
makes what comes from data harmless.
"""

from collections.abc import Iterable, Iterator, Sequence

from curate.console import count, plural, size, table, wrap
from curate.io.forms import TITLES
from curate.io.inputs import InputFile, Passed
from curate.run.estimate import Estimate
from curate.run.funnel import Action, Funnel, FunnelStep
from curate.run.status import Status
from curate.run.why import Found, Story, Verdict
from curate.stages.protocol import Forecast

RULES_SHOWN = 12  # rules shown of a step for each action, most frequent first; the others are summed up
NAMES_SHOWN = 3  # failures or files that a sentence names
EXCERPT_SHOWN = 160  # characters


# -- run -----------------------------------------------------------------------------------------------------------


def funnel(facts: Funnel) -> str:
    """Documents and text in and out of every step, the time it took, and why documents were dropped.

    kept is the share of rows that come out, s the seconds of all tasks together.
    """
    rows = [row for step in facts.steps if _is_shown(step) for row in _step_rows(step)]
    return table(["step", "in", "out", "kept", "text in", "text out", "s"], rows)


def _is_shown(step: FunnelStep) -> bool:
    """Whether a step has news. It has none if it changed no row and is the reader, a lane beside the main one
    ("name (lane)"), or a phase that only counts ("stage.phase").
    """
    if step.changes_rows:
        return True
    return step.step != "read" and "(" not in step.step and ("." not in step.step or step.step.endswith(".apply"))


def _step_rows(step: FunnelStep) -> Iterator[list[str]]:
    """The row of a step, and below it a row for each rule and for what was set aside."""
    yield [step.step.removesuffix(".apply"), count(step.rows_in), count(step.rows_out), f"{step.share_kept:.1%}",
           size(step.bytes_in), size(step.bytes_out), f"{step.seconds:.1f}"]  # fmt: skip
    verbs: dict[Action, str] = {"drop": "", "cut": "cut ", "mark": "marked "}
    for action, verb in verbs.items():
        ranked = step.of(action)
        for rule in ranked[:RULES_SHOWN]:
            yield _note(f"{verb}{rule.rule}", rule.rows)
        if more := ranked[RULES_SHOWN:]:
            yield _note(f"and {len(more)} more rules", sum(rule.rows for rule in more))
    if step.set_aside:
        yield _note("set aside", step.set_aside)


def _note(what: str, rows: int) -> list[str]:
    """A row below a step; its number stands in the column `kept`."""
    return [f"  {what}", "", "", count(rows), "", "", ""]


def reader(facts: Funnel) -> str:
    """One line about the records that are no documents, and damage; empty where the reader met neither."""
    seen = facts.reader
    parts = [f"{count(n)} {kind}" for kind, n in sorted(seen.get("other_records", {}).items())]
    if seen.get("skipped_bytes"):
        parts.append(f"{count(seen['skipped_bytes'])} damaged bytes skipped")
    return f"not documents: {', '.join(parts)}" if parts else ""


# -- inputs --------------------------------------------------------------------------------------------------------


def inputs(files: Iterable[InputFile], passed: Iterable[Passed]) -> str:
    """What would be read how, by form and compression, and what is passed over and why."""
    forms: dict[str, list[InputFile]] = {}
    for file in files:
        title = TITLES[file.format] + (f", {file.codec}" if file.codec else "")
        forms.setdefault(title, []).append(file)
    read = [
        _kind(title, len(found), sum(file.size for file in found), [file.rel for file in found[:NAMES_SHOWN]])
        for title, found in sorted(forms.items())
    ]
    left = [_kind(one.why, one.files, one.bytes, one.names) for one in passed]
    return "\n".join(
        [wrap("read:" if read else "nothing would be read"), *read, *(["not read:"] if left else []), *left]
    )


def _kind(what: str, files: int, length: int, names: Sequence[str]) -> str:
    """Files of one kind: how many, their bytes, and the names of the first."""
    more = files - len(names)
    named = ", ".join(map(_line, names)) + (f" and {more:,} more" if more > 0 else "")
    return wrap(f"  {plural(files, 'file')}, {size(length)}, {what}: {named}")


# -- plan ----------------------------------------------------------------------------------------------------------


def estimate(facts: Estimate) -> str:
    """The passes of a plan, what they take, and what the stages forecast."""
    rows = [[p.name, p.shape, p.tasks, "yes" if p.documents_kept else ""] for p in facts.passes]
    paragraphs = [
        wrap(
            f"{plural(facts.files, 'input file')}, {size(facts.input_bytes)}, about {count(facts.documents)} documents,"
            f" {facts.partitions} partitions"
        ),
        table(["pass", "shape", "tasks", "documents stay"], rows, left=2),
        wrap(
            f"Estimates: about {size(facts.disk_bytes)} on disk while it runs; {plural(facts.workers, 'worker')} of"
            f" about {size(facts.memory_bytes_a_worker)} of memory each, {size(facts.memory_bytes)} at most in all."
        ),
        *map(forecast, facts.forecasts),
    ]
    return "\n\n".join(paragraphs)


def forecast(facts: Forecast) -> str:
    """The sentences of a forecast as paragraphs, then its table: bytes by number of documents."""
    parts = [wrap(sentence) for sentence in facts.sentences]
    if facts.rows:
        rows = [[count(documents), *map(size, figures)] for documents, *figures in facts.rows]
        lines = table(["documents", *facts.columns], rows, left=0).split("\n")
        parts.append("\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts)


# -- status --------------------------------------------------------------------------------------------------------


def status(facts: Status) -> str:
    """The passes with the tasks done of each, and a sentence that sums them up."""
    rows = [[p.name, p.done, p.tasks, count(p.rows_out)] for p in facts.passes]
    return f"{table(['pass', 'done', 'of', 'rows out'], rows)}\n\n{wrap(summary(facts))}"


def summary(facts: Status) -> str:
    """The state of a run in a sentence."""
    behind = next((p for p in facts.passes if p.done < p.tasks), None)
    if facts.state == "running":
        return f"running: {facts.owner}"
    if facts.state == "failed":
        return f"{len(facts.failures)} failed: {_some(facts.failures, '; ')}"
    if facts.state == "incomplete":
        gone = plural(len(facts.missing), "file")
        return f"not finished: {gone} of it missing, {_some(facts.missing)}; the same command makes them again"
    if facts.state == "finished":
        return "finished"
    return f"not finished{f', in {behind.name}' if behind else ''}; the same command continues"


def _some(names: tuple[str, ...], between: str = ", ") -> str:
    """The first NAMES_SHOWN names, and the number of the others."""
    more = len(names) - NAMES_SHOWN
    return between.join(names[:NAMES_SHOWN]) + (f"{between}and {more:,} more" if more > 0 else "")


# -- why -----------------------------------------------------------------------------------------------------------


def story(facts: Story) -> str:
    """What became of each document, in sentences."""
    return wrap("\n".join(line for document in facts.documents for line in _document(document)))


def _document(document: Found) -> Iterator[str]:
    """The lines about one document: where it came from, what each rule did to it, and where it is now."""
    yield f"document {document.doc_id}"
    offset = "" if document.origin_offset is None else f" at {document.origin_offset:,}"
    url = f", {_line(document.url)}" if document.url else ""
    yield f"  from {_line(document.origin_file or 'an unknown file')}{offset}{url}"
    for verdict in document.verdicts:
        yield f"  {_sentence(verdict)}"
        if verdict.excerpt:
            yield f"    begins: {_line(verdict.excerpt)[:EXCERPT_SHOWN]}"
    for place in document.places:
        copies = f", standing for {place.n_copies:,} copies" if (place.n_copies or 1) > 1 else ""
        yield f"  it is in {place.name}/{copies}"


def _sentence(verdict: Verdict) -> str:
    """A verdict in words: what was done by which rule, what it measured, its limit, and the span in bytes."""
    verb = {"drop": "dropped", "cut": "a span was cut", "mark": "marked"}.get(verdict.action, verdict.action)
    unit = f" {verdict.unit}" if verdict.unit else ""
    text = f"{verb} by {verdict.stage}: {verdict.rule}"
    if verdict.value is not None:
        text += f", measured {verdict.value:g}{unit}"
    if verdict.limit is not None:
        text += f", limit {verdict.limit:g}{unit}"
    if verdict.preset:
        text += f" (preset {verdict.preset})"
    if verdict.detail:
        text += f": {_line(verdict.detail)}"
    if verdict.span_start is not None:
        text += f" (bytes {verdict.span_start:,} to {verdict.span_end:,})"
    return text


def _line(text: str) -> str:
    """Text from data on one line, so that a line end in it cannot begin a line that seems to be the program's."""
    return " ".join(text.split())
