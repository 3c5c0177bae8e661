"""Scores on items that the training corpus holds, and on those it does not: made from this very corpus.

`curate decontaminate` writes contaminated_items.parquet, a row an item of every benchmark. An evaluation joins it by
(benchmark, row):

    dirty     found in the corpus, sure or likely
    clean     looked for, and not found
    unknown   could not be looked for: too short, or made of words that too many items share

`benchmark` is the name of the file without suffixes, `row` counts its items from 0. With `action: drop` the documents
of the dirty items are not in the training data; the difference then tells how hard these items are by themselves.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import ConfigError, DataError
from train.evaluation.tasks import TaskData

FILE = "contaminated_items.parquet"
COLUMNS = {"benchmark", "row", "tier", "state"}
SEARCHED = ("indexed", "shortened")
GROUPS = ("clean", "dirty", "unknown")


class Findings:
    """What a scan of the corpus found of every benchmark item."""

    def __init__(self, place: Path) -> None:
        """place: the file, or the folder of the run that made it. Raises ConfigError, DataError."""
        path = place / FILE if place.is_dir() else place
        if not path.is_file():
            found = sorted(place.rglob(FILE)) if place.is_dir() else []
            if len(found) != 1:
                raise ConfigError(
                    f"--contaminated {place}: no {FILE} here; a recipe with a `decontaminate` step makes one"
                )
            path = found[0]
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file: {error}") from None
        if missing := COLUMNS - set(table.column_names):
            raise DataError(f"{path}: no column {', '.join(sorted(missing))}; give a {FILE} of `decontaminate`")
        self.path, self._table = path, table
        self.benchmarks: list[str] = sorted(pc.unique(table.column("benchmark")).to_pylist())

    def groups(self, data: TaskData) -> Any:
        """The group of each item of a task, an array of names; None where its benchmark was not scanned.

        Raises DataError where the scan knew another number of items.
        """
        if data.benchmark not in self.benchmarks:
            return None
        table = self._table.filter(pc.equal(self._table.column("benchmark"), data.benchmark))
        rows = table.column("row").to_numpy()
        if len(rows) != len(data.items) or not np.array_equal(np.sort(rows), np.arange(len(rows))):
            raise DataError(
                f"{self.path}: has {len(rows):,} items of {data.benchmark}, and the file of the task has "
                f"{len(data.items):,}: it is another version; scan the corpus for this one"
            )
        found = np.asarray(pc.is_valid(table.column("tier")).combine_chunks())
        states = np.isin(table.column("state").to_numpy(zero_copy_only=False), SEARCHED)
        groups = np.empty(len(rows), dtype=object)
        groups[rows] = np.where(found, "dirty", np.where(states, "clean", "unknown"))
        return groups
