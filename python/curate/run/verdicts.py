"""From verdicts and marks to rows of rejects/: who was dropped, cut or marked, by which rule, and how it began."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.io.store import Store, Written
from curate.io.write import GROUP_BYTES, GROUP_ROWS, TableFile
from curate.redaction.kinds import BY_PATTERN, EVERYTHING, ON_DEMAND
from curate.run.manifest import StepCounts

EXCERPT = 200  # characters of an excerpt, and of a detail of a text that a reject shows
WINDOW = 1200  # characters in which personal values are looked for, so that none is cut in two at the excerpt's end
PLACEHOLDER = "<{type}>"  # what stands for a personal value in a reject
# A detail that is no text: an id, an item's name, a language.
NO_TEXT = r"^([!-~]*[0-9:._/-][!-~]*|[a-z]{2,3})$"
# Columns of the row that a reject has too.
COPIED = ("doc_id", "source", "url", "origin_file", "origin_offset")


def stays(verdicts: pa.RecordBatch) -> pa.Array:
    """Which rows stay: those without a rule, and those that are only marked."""
    marked = pc.fill_null(pc.equal(verdicts.column("action"), "mark"), False)
    return pc.or_(pc.is_null(verdicts.column("rule")), marked)


class Rejects:
    """The rejects of one task, in one Parquet file that is committed with the task.

    `hidden` are the types of personal values that no column may hold (redaction/kinds.py): those that a redact step of
    the recipe replaces, whether it stands before or behind the step that decides. With EVERYTHING among them nothing
    of a text is shown at all. Every method counts what it records in `count`, by rule, so that the counts of a receipt
    are those of its file.
    """

    def __init__(self, store: Store, rel: str, *, keep_text: bool, hidden: Sequence[str]) -> None:
        self.file = TableFile(store, rel)
        self.keep_text = keep_text
        self.hidden = [kind for kind in hidden if kind in (*BY_PATTERN, *ON_DEMAND)]
        self.silent = EVERYTHING in hidden

    def judged(
        self,
        batch: pa.RecordBatch,
        verdicts: pa.RecordBatch,
        count: StepCounts,
        step: str,
        preset: str | None,
        *,
        private: bool,
    ) -> None:
        """Record the rows with a verdict (schema.VERDICT, one a row of `batch`): dropped, or marked as a whole.

        `private`: the step handles personal values, so nothing of the text is shown.
        """
        noted = pc.is_valid(verdicts.column("rule"))
        rows, found = batch.filter(noted), verdicts.filter(noted)
        action = pc.fill_null(found.column("action"), "drop")
        for rule, what in zip(found.column("rule").to_pylist(), action.to_pylist(), strict=True):
            tally = count.dropped if what == "drop" else count.marked
            tally[rule] = tally.get(rule, 0) + 1
        columns = {name: found.column(name) for name in ("rule", "value", "limit", "detail")}
        shown = self._shown(rows, private=private, whole=pc.equal(action, "drop"))
        self._write(shown, {"action": action, **columns}, step, preset, silent=self.silent and not private)

    def marked(
        self,
        batch: pa.RecordBatch,
        marks: pa.RecordBatch,
        count: StepCounts,
        step: str,
        preset: str | None,
        *,
        private: bool,
    ) -> None:
        """Record spans (schema.MARK). A document is looked at once, however many spans it has, and what a reject
        repeats of it is copied for as many spans at a time as make one group of the file."""
        for rule, action in zip(marks.column("rule").to_pylist(), marks.column("action").to_pylist(), strict=True):
            tally = count.cut if action == "cut" else count.marked
            tally[rule] = tally.get(rule, 0) + 1
        of, row_of = np.unique(marks.column("row").to_numpy(zero_copy_only=False), return_inverse=True)
        shown = self._shown(batch, private=private, of=pa.array(of))
        for start, size in _groups(shown, len(row_of)):
            part = marks.slice(start, size).drop_columns(["row"])
            columns = dict(zip(part.schema.names, part.columns, strict=True))
            rows = shown.take(pa.array(row_of[start : start + size]))
            self._write(rows, columns, step, preset, silent=self.silent and not private)

    def _shown(
        self, batch: pa.RecordBatch, *, private: bool, of: pa.Array | None = None, whole: pa.Array | None = None
    ) -> pa.RecordBatch:
        """What rejects repeat of the rows `of` the batch (None: of all): COPIED, and the excerpt where there is one."""
        silent = private or self.silent
        names = [name for name in (*COPIED, *(() if silent else ("text",))) if batch.schema.get_field_index(name) >= 0]
        rows = batch.select(names)
        if of is not None:
            rows = rows.take(of)
        if "url" in names and self.hidden:
            rows = rows.set_column(names.index("url"), "url", self._without_personal(rows.column("url")))
        if "text" in names:
            excerpt = self._excerpts(rows.column("text"), whole)
            rows = rows.drop_columns(["text"]).append_column("excerpt", excerpt)
        return rows

    def _write(
        self, rows: pa.RecordBatch, columns: Mapping[str, pa.Array], step: str, preset: str | None, *, silent: bool
    ) -> None:
        """Rows of schema.REJECT from what `_shown` gave, the columns of verdicts or marks, and the step's name.

        `silent` leaves out details that could be text of the document.
        """
        n = rows.num_rows
        data = {**columns, "stage": pa.array([step] * n), "preset": pa.array([preset] * n, pa.string())}
        data |= dict(zip(rows.schema.names, rows.columns, strict=True))
        if "detail" in data:
            detail = data["detail"].cast(pa.string())
            if silent:
                detail = pc.if_else(pc.match_substring_regex(detail, NO_TEXT), detail, None)
            if self.hidden:
                detail = self._without_personal(detail)
            data["detail"] = pc.utf8_slice_codeunits(detail, 0, EXCERPT)
        self.file.write(schema.conform(pa.RecordBatch.from_pydict(data), schema.REJECT))

    def _excerpts(self, text: pa.Array, whole: pa.Array | None = None) -> pa.Array:
        """The first EXCERPT characters of every text, personal values replaced.

        The whole text where `keep_text` is set and `whole` is true: a recipe that has both this and a redact step is
        refused (run/plan.py). Values are looked for in the first WINDOW characters, in one call for all rows; only
        texts with a value inside the excerpt are taken apart.
        """
        head = pc.utf8_slice_codeunits(text, 0, EXCERPT)
        if self.keep_text and whole is not None:
            return pc.if_else(whole, text, head)
        if not self.hidden:
            return head
        row, start, end, kind = kernels.find_personal(pc.utf8_slice_codeunits(text, 0, WINDOW), kinds=self.hidden)
        ends = pc.binary_length(head).to_numpy(zero_copy_only=False)
        row, start, end = (values.to_numpy(zero_copy_only=False) for values in (row, start, end))
        shown = start < ends[row]
        if not shown.any():
            return head
        heads = head.to_pylist()
        kinds = kind.to_pylist()
        for one in np.unique(row[shown]):
            places = np.flatnonzero((row == one) & shown)
            spans = [(start[i], end[i], PLACEHOLDER.format(type=kinds[i].upper())) for i in places]
            heads[one] = _replaced(text[int(one)].as_py().encode(), int(ends[one]), spans)
        return pa.array(heads, pa.large_string())

    def _without_personal(self, column: pa.Array) -> pa.Array:
        """Texts with their personal values replaced: a URL or a detail may hold them too."""
        texts = column.cast(pa.large_string())
        filled = pc.fill_null(texts, "")
        clean = kernels.replace_spans(
            filled, *kernels.find_personal(filled, kinds=self.hidden), placeholder=PLACEHOLDER
        )
        return pc.if_else(pc.is_valid(texts), clean, None)

    def close(self) -> Written | None:
        """Commit the file; None where nothing was recorded."""
        return self.file.close()

    def abort(self) -> None:
        """Leave nothing of what was recorded."""
        self.file.abort()


def _groups(rows: pa.RecordBatch, count: int) -> Iterator[tuple[int, int]]:
    """(first, number) of marks that are written at once: GROUP_ROWS, or fewer where a row holds a long URL."""
    texts = [rows.column(name) for name in ("url", "excerpt") if rows.schema.get_field_index(name) >= 0]
    longest = sum(pc.max(pc.binary_length(column)).as_py() or 0 for column in texts)
    size = max(1, min(GROUP_ROWS, GROUP_BYTES // max(longest, 1)))
    for start in range(0, count, size):
        yield start, min(size, count - start)


def _replaced(data: bytes, end: int, spans: list[tuple[int, int, str]]) -> str:
    """The first `end` bytes of a text, spans (start, end, placeholder) replaced.

    A span that reaches beyond the end is replaced whole. Spans do not overlap; a cut inside a character gives U+FFFD.
    """
    parts, at = [], 0
    for start, stop, placeholder in sorted(spans):
        parts += [data[at:start], placeholder.encode()]
        at = stop
    parts.append(data[at:end])
    return b"".join(parts).decode("utf-8", "replace")
