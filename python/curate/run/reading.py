"""What readers found out about columns, over all tasks: names that are nowhere, values that no column could hold."""

from collections.abc import Iterable, Iterator, Mapping

from curate import schema
from curate.errors import ConfigError
from curate.io.columns import expected, listed
from curate.run.manifest import Receipt


def check_names(receipts: Iterable[Receipt], *, whole: bool) -> list[str]:
    """ConfigError where the setting `columns` gives a name that no row of its source has.

    `receipts` are those of all tasks of a pass; only those that read the inputs first know names. Whether a key of JSON
    lines is there is known only after the last line: where the inputs were not read as a `whole`, a warning is given.
    """
    rows: dict[tuple[str, str], int] = {}
    names: set[str] = set()
    documents = 0
    for receipt in receipts:
        documents += receipt.reader.get("documents", 0)
        about = receipt.reader.get("columns", {})
        names.update(about.get("names", []))
        for source, found in about.get("named", {}).items():
            for name, n in found.items():
                rows[source, name] = rows.get((source, name), 0) + n
    missing = sorted(key for key, n in rows.items() if not n)
    if not documents or not missing:
        return []
    source, name = missing[0]
    setting = "--trust-ids" if name == "doc_id" else "`columns`"
    told = (
        f'{setting} reads "{name}", and no row of the source {source} has it; the rows have: {listed(sorted(names))};'
        " mend `columns` (--columns) and run the same command again with --update"
    )
    if whole:
        raise ConfigError(told)
    return [told]


def put_aside(receipts: Iterable[Receipt]) -> Iterator[str]:
    """A line for every column of the input with values that the column of ours cannot hold."""
    total: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], Mapping[str, str]] = {}
    for receipt in receipts:
        for name, columns in receipt.reader.get("columns", {}).get("aside", {}).items():
            for column, found in columns.items():
                total[name, column] = total.get((name, column), 0) + found["values"]
                first.setdefault((name, column), found)
    for (name, column), values in total.items():
        one = first[name, column]
        known = next(known for known in schema.SCHEMA_OF.values() if column in known.names)
        yield (
            f'{values:,} value{"s" if values > 1 else ""} of "{name}" cannot be read as'
            f" {expected(known.field(column).type)} ({column}) and went into `extra`; one is {one['what']}, in"
            f" {one['where']}"
        )
