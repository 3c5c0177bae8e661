"""Which column of ours each column or key of an input becomes; nothing that an input says is lost.

    known      read as the column of the schema: text, url, lang, ...; a value that cannot be one goes into `extra`
    carried    a column of its own, of the input's type: of Parquet where all files of the run that have it agree on its
               type; of JSON lines where the setting `columns` names the key, as text
    extra      anything else, in one JSON object a row

An input's own id (`doc_id`, else `source_id`, else `id`) becomes source_id. Only trusted inputs, the folders of
finished runs for example, keep their doc_id, source, origin_file and origin_offset. An example: of a file with the
columns id, content and lang and the setting `columns: {text: content}`, id becomes source_id, content becomes text,
and lang stays lang.
"""

import base64
import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from curate import schema
from curate.errors import SchemaError
from curate.schema import Kind

# Common names -> columns of ours. An alias counts only where nothing else in the input stands for that column.
ALIASES = {"id": "source_id", "timestamp": "crawled_at", "date": "crawled_at"}
# Identity and provenance: the reader sets them, except where the input is trusted.
OURS = frozenset(("doc_id", "source", "origin_file", "origin_offset", "extra"))
# Columns that extraction writes: a page's own column of that name goes into `extra`.
EXTRACTED = frozenset(("text", "title", "lang_declared", "extract_score", "extract_share"))

# Names of the columns of the schema, by kind of row.
KNOWN: dict[Kind, frozenset[str]] = {kind: frozenset(s.names) for kind, s in schema.SCHEMA_OF.items()}


def targets(names: Sequence[str], columns: Mapping[str, str], *, trusted: bool, keep_source: bool) -> list[str | None]:
    """For every name of an input the column it stands for; None where it can only go into `extra`.

    `columns` are the user's names (ours -> the input's), which come first. `keep_source`: a column `source` replaces
    the source of the recipe.
    """
    renamed = {given: ours for ours, given in columns.items()}
    found: list[str | None] = [renamed.get(name, name) for name in names]
    taken = {renamed[name] for name in names if name in renamed}
    before: set[str | None] = set()
    for i, name in enumerate(names):
        if name not in renamed and (name in taken or name in before):
            found[i] = None  # the name stands for another column already
        before.add(found[i])
    for alias, target in ALIASES.items():
        if alias in names and alias not in renamed and target not in found:
            found[names.index(alias)] = target
    if not trusted:
        _without_identity(names, found, renamed, keep_source)
    return found


def _without_identity(
    names: Sequence[str], found: list[str | None], renamed: Mapping[str, str], keep_source: bool
) -> None:
    """Take the columns that only trusted inputs may set out of `found`; a doc_id becomes the source_id."""
    if "doc_id" in found:
        for i, target in enumerate(found):
            if target == "source_id":
                found[i] = names[i] if names[i] == "id" else None
        found[found.index("doc_id")] = "source_id"
    for i, target in enumerate(found):
        if target in OURS and not (target == "source" and (keep_source or names[i] in renamed)):
            found[i] = None


def check_names(names: Sequence[str], columns: Mapping[str, str], where: str) -> None:
    """SchemaError where `columns` renames a column of a table onto one that is there."""
    for ours, given in columns.items():
        if given in names and ours in names and ours != given and ours not in columns.values():
            raise SchemaError(
                f'{where}: `columns` reads "{given}" as "{ours}", and there is a column "{ours}" already; '
                f"rename that one too, for example `columns: {{{ours}: {given}, other: {ours}}}`"
            )


def kind_of(found: Iterable[str | None]) -> Kind | None:
    """What rows with these columns are: documents where there is a text, pages where there is HTML, else None."""
    there = set(found)
    if "text" in there:
        return "document"
    return "raw" if there & {"html", "payload"} else None


# -- types -----------------------------------------------------------------------------------------------------


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The type that a column is carried in: dictionaries as their values, one spelling of text and of bytes.

    None where there is none, as of a list of dictionaries: such a column goes into `extra`.
    """
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if is_text(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return kind if all(plain(one) is not None and not pa.types.is_dictionary(one) for one in inner) else None


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, in any of Arrow's three layouts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is bytes, of fixed size or not."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


class Table(NamedTuple):
    """The columns of one Parquet file: what each stands for, and the type it would be carried in."""

    kind: Kind  # of its rows
    targets: Sequence[str | None]  # of each column: the column of ours, or None for `extra`
    types: Sequence[pa.DataType | None]  # of each column, as `plain` gives it; None for what cannot be carried


def table_of(columns_of: pa.Schema, columns: Mapping[str, str], *, trusted: bool, where: str) -> Table:
    """What the columns of a Parquet file stand for. SchemaError where it has neither text nor HTML."""
    names, types = columns_of.names, [plain(kind) for kind in columns_of.types]
    place = columns_of.get_field_index("source")
    found = targets(names, columns, trusted=trusted, keep_source=place >= 0 and types[place] == pa.string())
    kind = kind_of(found)
    content = "text" if kind == "document" else next((n for n in ("payload", "html") if n in found), None)
    if kind is None or content is None:
        raise SchemaError(
            f"{where}: no column `text` (nor `html`); it has: {', '.join(names)}; "
            "name the one that holds the text with `columns: {text: NAME}`"
        )
    place = found.index(content)
    if types[place] not in (pa.string(), pa.binary(), pa.null()):
        raise SchemaError(f'{where}: the column "{names[place]}" holds {columns_of.types[place]}, not text')
    if kind == "raw":
        found[place] = "payload"
    return Table(kind, found, types)


def carried(tables: Iterable[Table], named: Iterable[str], *, pages: bool) -> dict[Kind, pa.Schema]:
    """The columns that are carried on, for all inputs of a run, sorted by name.

    `named` are the names that `columns` gives to keys of JSON lines; `pages`: there are pages among the inputs.
    Pages keep columns of documents too (lang, quality_score, ...) that they bring in the right type.
    """
    reserved = KNOWN["document"] | (KNOWN["raw"] if pages else frozenset())
    types: dict[str, set[pa.DataType | None]] = {}
    ahead: dict[str, pa.DataType] = {}
    for table in tables:
        for name, kind in zip(table.targets, table.types, strict=True):
            if name is None or name in KNOWN[table.kind]:
                continue
            if name not in reserved:
                types.setdefault(name, set()).add(kind)
            elif table.kind == "raw" and name in KNOWN["document"] - EXTRACTED:
                wanted = plain(schema.DOCUMENT.field(name).type)
                if kind is not None and kind == wanted:
                    ahead[name] = kind
    agreed = {name: _agreed(found) for name, found in types.items()}
    agreed |= {name: pa.string() for name in named if name not in reserved}
    documents = {name: kind for name, kind in agreed.items() if kind is not None}
    return {
        "document": pa.schema(sorted(documents.items())),
        "raw": pa.schema(sorted({**documents, **ahead}.items())),
    }


def _agreed(found: set[pa.DataType | None]) -> pa.DataType | None:
    """The one type of a column; a file whose column is all null agrees with any."""
    others = [kind for kind in found if kind is None or not pa.types.is_null(kind)]
    if not others:
        return pa.null()
    return others[0] if len(others) == 1 else None


def to_text(carried: pa.Schema) -> str:
    """A schema as text that stands in a slice; "" where it has no columns."""
    return base64.b64encode(carried.serialize().to_pybytes()).decode() if len(carried) else ""


def from_text(text: str) -> pa.Schema:
    """The schema that `to_text` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text))) if text else pa.schema([])


# -- values ----------------------------------------------------------------------------------------------------


def converter(name: str, kind: pa.DataType) -> Callable[[Any], Any]:
    """What makes a value a known column's type; it gives None where it cannot: the value then goes into `extra`."""
    if name == "source_id":
        return as_text
    if pa.types.is_timestamp(kind):
        return parse_time
    if pa.types.is_boolean(kind):
        return lambda value: value if isinstance(value, bool) else None
    if pa.types.is_float32(kind):
        return _number
    if pa.types.is_integer(kind):
        return functools.partial(_whole, kind)
    if pa.types.is_fixed_size_binary(kind):
        return identity
    return _bytes if is_bytes(kind) else _text


def _text(value: Any) -> str | None:
    """A text with valid UTF-8."""
    return valid_text(value)[0] if isinstance(value, str) else None


def _bytes(value: Any) -> bytes | None:
    """Bytes as they are, a text as UTF-8."""
    value = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return value if isinstance(value, bytes) else None


def _whole(kind: pa.DataType, value: Any) -> int | None:
    """A whole number that the integer type `kind` can hold; 3.0 is 3, and True is no number."""
    bits = kind.bit_width
    low, high = (0, 2**bits) if pa.types.is_unsigned_integer(kind) else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return number if isinstance(number, int) and not isinstance(number, bool) and low <= number < high else None


def _number(value: Any) -> float | None:
    """A finite number that float32 can hold, from a number or from text such as "0.5"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 3.4e38 else None


def identity(value: Any) -> bytes | None:
    """A doc_id of 16 bytes or 32 hex digits; None for anything else."""
    if isinstance(value, bytes):
        return value if len(value) == 16 else None
    try:
        found = bytes.fromhex(value) if isinstance(value, str) and len(value) == 32 else b""
    except ValueError:
        return None
    return found if len(found) == 16 else None


def parse_time(value: Any) -> datetime | None:
    """ISO 8601 text, Unix seconds, a date or a datetime as a UTC datetime; None where it is none of them."""
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None
    except (ValueError, OverflowError, OSError):
        return None


def valid_text(text: str) -> tuple[str, bool]:
    """`text` without lone surrogates (JSON can spell them, UTF-8 cannot), and whether any was replaced."""
    try:
        text.encode("utf-8")
        return text, False
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), True


def as_text(value: Any) -> str:
    """A value as text: text as it is, bytes as hex digits, anything else as JSON."""
    if isinstance(value, str):
        return valid_text(value)[0]
    return value.hex() if isinstance(value, bytes) else json_text(value)


def put(extra: dict[str, Any], name: str, value: Any) -> None:
    """Add to what has no column; a name that is there already gets an underscore."""
    while name in extra:
        name += "_"
    extra[name] = value


def json_text(value: Any) -> str:
    """`value` as JSON in valid UTF-8: bytes as hex digits, times and numbers that JSON has not as text.

    Raises RecursionError where it is nested deeper than can be written.
    """
    try:
        text = _STRICT.encode(value)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=_json_value)
    if valid_text(text)[1]:  # lone surrogates, which only an escape can spell
        text = json.dumps(_finite(value), ensure_ascii=True, default=_json_value)
    return text


def _json_value(value: Any) -> Any:
    """What JSON has no form for: bytes as hex digits, anything else as its text."""
    return value.hex() if isinstance(value, bytes) else str(value)


# Most values need nothing replaced, so this encoder is tried first; NaN and infinity make it raise ValueError.
_STRICT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_json_value)


def _finite(value: Any) -> Any:
    """A value with NaN and infinities, at any depth, as text: JSON has no number for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def joined(base: str | None, more: Mapping[str, Any]) -> str | None:
    """An `extra` that a trusted input has, as the text of a JSON object, with what else it says; None for nothing."""
    extra: dict[str, Any] = {}
    if base:
        try:
            found = json.loads(base)
        except ValueError:
            found = base
        extra = found if isinstance(found, dict) else {"extra": found}
    for name, value in more.items():
        put(extra, name, value)
    return json_text(extra) if extra else None
