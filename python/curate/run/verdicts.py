"""From verdicts and marks to rows of rejects/: who was dropped, cut or marked, by which rule, and how it began."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.io.store import Store, Written
from curate.io.write import TableFile
from curate.run.manifest import StepCounts

EXCERPT = 200  # characters of an excerpt, and of a detail of a text that a reject shows
WINDOW = 1200  # characters in which personal values are looked for, so that none is cut in two at the excerpt's end
# Columns of the row that a reject has too.
COPIED = ("doc_id", "source", "url", "origin_file", "origin_offset")


def stays(verdicts: pa.RecordBatch) -> pa.Array:
    """Which rows stay: those without a rule, and those that are only marked."""
    marked = pc.fill_null(pc.equal(verdicts.column("action"), "mark"), False)
    return pc.or_(pc.is_null(verdicts.column("rule")), marked)


class Rejects:
    """The rejects of one task, in one Parquet file that is committed with the task.

    `hidden` are the kinds of personal values (and what stands for them) that no column may hold: those that a redact
    step of the recipe replaces, whether it stands before or behind the step that decides. Every method counts what it
    records in `count`, by rule, so that the counts of a receipt are those of its file.
    """

    def __init__(self, store: Store, rel: str, *, keep_text: bool, hidden: Mapping[str, str | None]) -> None:
        self.file = TableFile(store, rel)
        self.keep_text, self.hidden = keep_text, dict(hidden)

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
        excerpt = None if private else self._excerpts(rows, whole=pc.equal(action, "drop"))
        self._write(rows, {"action": action, **columns}, excerpt, step, preset)

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
        """Record spans (schema.MARK); a document is looked at once, however many spans it has."""
        for rule, action in zip(marks.column("rule").to_pylist(), marks.column("action").to_pylist(), strict=True):
            tally = count.cut if action == "cut" else count.marked
            tally[rule] = tally.get(rule, 0) + 1
        of, row_of = np.unique(marks.column("row").to_numpy(zero_copy_only=False), return_inverse=True)
        names = [name for name in (*COPIED, "text") if batch.schema.get_field_index(name) >= 0]
        rows = batch.select(names).take(pa.array(of))
        excerpt = None if private else self._excerpts(rows)
        if "text" in names:
            rows = rows.drop_columns(["text"])
        place = pa.array(row_of)
        columns = {f.name: column for f, column in zip(marks.schema, marks.columns, strict=True) if f.name != "row"}
        self._write(rows.take(place), columns, None if excerpt is None else excerpt.take(place), step, preset)

    def _write(
        self,
        rows: pa.RecordBatch,
        columns: Mapping[str, pa.Array],
        excerpt: pa.Array | None,
        step: str,
        preset: str | None,
    ) -> None:
        """Rows of schema.REJECT from the rows' own columns, those of the verdicts or marks, and the step's name."""
        n = rows.num_rows
        data = {**columns, "stage": pa.array([step] * n), "preset": pa.array([preset] * n, pa.string())}
        data |= {name: rows.column(name) for name in COPIED if rows.schema.get_field_index(name) >= 0}
        if excerpt is not None:
            data["excerpt"] = excerpt
        if self.hidden:
            data |= {name: self._without_personal(data[name]) for name in ("url", "detail") if name in data}
        if "detail" in data:
            data["detail"] = pc.utf8_slice_codeunits(data["detail"], 0, EXCERPT)
        self.file.write(schema.conform(pa.RecordBatch.from_pydict(data), schema.REJECT))

    def _excerpts(self, rows: pa.RecordBatch, whole: pa.Array | None = None) -> pa.Array | None:
        """The first EXCERPT characters of every text, personal values replaced; None where rows have no text.

        The whole text where `keep_text` is set and `whole` is true: a recipe that has both this and a redact step is
        refused (run/plan.py). Values are looked for in the first WINDOW characters, in one call for all rows; only
        texts with a value inside the excerpt are taken apart.
        """
        if rows.schema.get_field_index("text") < 0:
            return None
        text = rows.column("text")
        head = pc.utf8_slice_codeunits(text, 0, EXCERPT)
        if self.keep_text and whole is not None:
            return pc.if_else(whole, text, head)
        if not self.hidden:
            return head
        _, row, start, end, kind = kernels.redact(pc.utf8_slice_codeunits(text, 0, WINDOW), **self.hidden)
        ends = pc.binary_length(head).to_numpy(zero_copy_only=False)
        row, start, end = (values.to_numpy(zero_copy_only=False) for values in (row, start, end))
        shown = start < ends[row]
        if not shown.any():
            return head
        heads = head.to_pylist()
        kinds = kind.to_pylist()
        for one in np.unique(row[shown]):
            spans = [(start[i], end[i], self.hidden[kinds[i]]) for i in np.flatnonzero((row == one) & shown)]
            heads[one] = _replaced(text[int(one)].as_py().encode(), int(ends[one]), spans)
        return pa.array(heads, pa.large_string())

    def _without_personal(self, column: pa.Array) -> pa.Array:
        """Texts with their personal values replaced: a URL or a detail may hold them too."""
        texts = column.cast(pa.large_string())
        clean, *_ = kernels.redact(pc.fill_null(texts, ""), **self.hidden)
        return pc.if_else(pc.is_valid(texts), clean, None)

    def close(self) -> Written | None:
        """Commit the file; None where nothing was recorded."""
        return self.file.close()

    def abort(self) -> None:
        """Leave nothing of what was recorded."""
        self.file.abort()


def _replaced(data: bytes, end: int, spans: list[tuple[int, int, str | None]]) -> str:
    """The first `end` bytes of a text, spans (start, end, placeholder) replaced.

    A span that reaches beyond the end is replaced whole. Spans do not overlap; a cut inside a character gives U+FFFD.
    """
    parts, at = [], 0
    for start, stop, placeholder in sorted(spans):
        parts += [data[at:start], (placeholder or "").encode()]
        at = stop
    parts.append(data[at:end])
    return b"".join(parts).decode("utf-8", "replace")
