"""`train audit synthetic`: the documents of a run that models wrote: which model, from which prompts, how varied.

A synthetic document (`synthetic` true) has a `generator`, a name of the model, and a `prompt_hash`, so that what it
stands for can be told later: as columns, or in the object `extra` where the input had keys that no column was named
for. Those without are counted. Each generator's texts are measured against the run's real ones (diversity.py).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from curate import console
from curate.errors import ConfigError, DataError
from train.audit.diversity import WORD, diversity

WORDS = 200_000  # of a generator's texts, and of real ones, that are compared at most
DOCUMENTS = 20_000  # of each that are held at most
UNKNOWN = "(no generator)"
NAMES = ("generator", "prompt_hash")


class Texts:
    """Documents of one origin: counted all, the first held."""

    def __init__(self) -> None:
        self.documents = self.words = self.without_prompt = 0
        self.prompts: set[str] = set()
        self.held: list[str] = []

    def add(self, text: str, prompt: str | None) -> None:
        """Count a document, and hold it where there is room."""
        self.documents += 1
        self.without_prompt += not prompt
        if prompt and len(self.prompts) < DOCUMENTS:
            self.prompts.add(prompt)
        if self.words < WORDS and len(self.held) < DOCUMENTS:
            self.words += len(WORD.findall(text))
            self.held.append(text)


class Row(NamedTuple):
    text: str
    synthetic: bool
    generator: str | None
    prompt_hash: str | None


def rows(data: Path) -> Iterator[Row]:
    """The documents of a run. Raises ConfigError where there are none, DataError where they cannot be read."""
    files = sorted(map(str, (data / "documents").glob("*.parquet")))
    if not files:
        raise ConfigError(f"{data}: no documents/ here; --data takes the folder of a curate run")
    try:
        table = ds.dataset(files, format="parquet")
        names = [name for name in ("text", "synthetic", "extra", *NAMES) if name in table.schema.names]
        for batch in table.to_batches(columns=names, batch_size=1024):
            columns = {name: batch.column(name).to_pylist() for name in names}
            for place in range(batch.num_rows):
                found = {name: values[place] for name, values in columns.items()}
                told = _told(found)
                yield Row(found["text"], bool(found.get("synthetic")), *told)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{data / 'documents'}: cannot be read: {error}") from None


def _told(found: dict[str, Any]) -> tuple[str | None, str | None]:
    """Generator and prompt hash of a row, from columns or from `extra`."""
    extra: Any = {}
    if found.get("extra") and not all(found.get(name) for name in NAMES):
        try:
            extra = json.loads(found["extra"])
        except ValueError:
            extra = {}
    extra = extra if isinstance(extra, dict) else {}
    values = [found.get(name) or extra.get(name) for name in NAMES]
    first, second = (str(value) if value else None for value in values)
    return first, second


def check(data: Path) -> dict[str, Any]:
    """Counts of real and synthetic documents, and by generator documents, prompts and measures of diversity."""
    real = Texts()
    written: dict[str, Texts] = {}
    for row in rows(data):
        place = written.setdefault(row.generator or UNKNOWN, Texts()) if row.synthetic else real
        place.add(row.text, row.prompt_hash)
    total = real.documents + sum(one.documents for one in written.values())
    generators = {
        name: {
            "documents": one.documents,
            "without_prompt_hash": one.without_prompt,
            "prompts": len(one.prompts),
            "measures": diversity(one.held, real.held, WORDS) if real.held else None,
        }
        for name, one in sorted(written.items())
    }
    counts = {"documents": total, "synthetic": total - real.documents}
    lacking = written[UNKNOWN].documents if UNKNOWN in written else 0
    return {"data": str(data), **counts, "without_generator": lacking, "generators": generators}


def table(found: dict[str, Any]) -> str:
    """The result as lines of text."""
    share = 100 * found["synthetic"] / max(1, found["documents"])
    lines = [f"{found['synthetic']:,} of {found['documents']:,} documents are synthetic ({share:.1f} %)"]
    if found["without_generator"]:
        lines.append(f"{found['without_generator']:,} of them do not say which model wrote them (`generator`)")
    cells = []
    for name, one in found["generators"].items():
        told = one["measures"]
        known = [f"{one['documents']:,}", f"{one['without_prompt_hash']:,}", f"{one['prompts']:,}"]
        shown = ["-"] * 4
        if told:
            near = f"{100 * told['in_copies']:.1f}"
            shown = [
                f"{told['distinct']['2']:.3f}",
                near,
                f"{told['largest_cluster']:,}",
                f"{told['distance']['2']:.3f}",
            ]
        cells.append([name[:24], *known, *shown])
    header = ["generator", "documents", "no prompt", "prompts", "distinct 2", "in copies, %", "largest", "distance 2"]
    return "\n".join([*lines, "", console.table(header, cells)]) if cells else lines[0]
