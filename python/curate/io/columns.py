"""Which column of ours each column or key of an input becomes; nothing that an input says is lost.

    known      read as the column of the schema: text, url, lang, ...; a value that cannot be one goes into `extra`
    carried    a column of its own, of the input's type: of Parquet where all files of the run that have it agree on its
               type; of JSON lines where the setting `columns` names the key, as text
    extra      anything else, in one JSON object a row

An input's own id (`doc_id`, else `source_id`, else `id`) becomes source_id. Only trusted inputs, the folders of
finished runs for example, keep their doc_id, origin_file and origin_offset. An example: of a file with the columns id,
content and lang and the setting `columns: {text: content}`, id becomes source_id, content becomes text, and lang stays
lang.

A name of the setting may lead into objects: `meta.url` is the key "meta.url" where there is one, else the key url of
the object meta. What is read from there is taken out of the object, and the rest of the object stays what it was.
"""

import base64
import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import SchemaError
from curate.io.times import parse_time
from curate.schema import Kind

# Common names -> columns of ours. An alias counts only where nothing else in the input stands for that column.
ALIASES = {"id": "source_id", "timestamp": "crawled_at", "date": "crawled_at"}
# Identity and provenance: the reader sets them, except where the input is trusted.
OURS = frozenset(("doc_id", "origin_file", "origin_offset", "extra"))
# Columns that extraction writes: a page's own column of that name goes into `extra`.
EXTRACTED = frozenset(("text", "title", "lang_declared", "extract_score", "extract_share"))

# Names of the columns of the schema, by kind of row.
KNOWN: dict[Kind, frozenset[str]] = {kind: frozenset(s.names) for kind, s in schema.SCHEMA_OF.items()}


def targets(names: Sequence[str], columns: Mapping[str, str], *, trusted: bool) -> list[str | None]:
    """For every name of an input the column it stands for; None where it can only go into `extra`.

    `columns` are the user's names (ours -> the input's): nothing else is read as a column that they name, also where
    the input lacks it. A text under `source` replaces the source of the recipe.
    """
    renamed = {given: ours for ours, given in columns.items()}
    found: list[str | None] = [renamed.get(name, name) for name in names]
    before: set[str | None] = set()
    for i, name in enumerate(names):
        if name not in renamed and (name in columns or name in before):
            found[i] = None  # another name stands for this column
        before.add(found[i])
    for alias, target in ALIASES.items():
        if alias in names and alias not in renamed and target not in columns and target not in found:
            found[names.index(alias)] = target
    if not trusted:
        _without_identity(names, found)
    return found


def _without_identity(names: Sequence[str], found: list[str | None]) -> None:
    """Take the columns that only trusted inputs may set out of `found`; a doc_id becomes the source_id."""
    if "doc_id" in found:
        for i, target in enumerate(found):
            if target == "source_id":
                found[i] = names[i] if names[i] == "id" else None
        found[found.index("doc_id")] = "source_id"
    found[:] = [None if target in OURS else target for target in found]


def wanted(columns: Mapping[str, str], *, trusted: bool) -> list[str]:
    """The names that an input must have somewhere: those that the user gives, and doc_id where ids are trusted."""
    return [*columns.values(), *(["doc_id"] if trusted and "doc_id" not in columns else [])]


def kind_of(found: Iterable[str | None]) -> Kind | None:
    """What rows with these columns are: documents where there is a text, pages where there is HTML, else None."""
    there = set(found)
    if "text" in there:
        return "document"
    return "raw" if there & {"html", "payload"} else None


# -- names that lead into objects --------------------------------------------------------------------------------


def path_of(tree: Any, name: str) -> tuple[str, ...] | None:
    """The keys that lead from an object to `name`: ("meta", "url") for "meta.url"; None where it is nowhere.

    A key that holds the dot itself comes first, at every depth.
    """
    if not isinstance(tree, dict):
        return None
    if name in tree:
        return (name,)
    for dot in reversed([i for i, letter in enumerate(name) if letter == "."]):
        rest = path_of(tree.get(name[:dot]), name[dot + 1 :])
        if rest is not None:
            return (name[:dot], *rest)
    return None


def lift(row: dict[str, Any], names: Iterable[str]) -> None:
    """Move what stands under nested names to keys of these names, in place; objects that are empty then are removed."""
    for name in names:
        path = path_of(row, name)
        if path is None or len(path) == 1:
            continue
        objects = [row]
        for key in path[:-1]:
            objects.append(objects[-1][key])
        value = objects[-1].pop(path[-1])
        for key, outer, inner in zip(path[-2::-1], objects[-2::-1], objects[::-1], strict=False):
            if not inner:
                del outer[key]
        row[name] = value


def names_in(tree: Mapping[str, Any]) -> Iterator[str]:
    """The keys of an object, and those of the objects in it as nested names, for messages."""
    for key, value in tree.items():
        yield key
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in value)


def listed(names: Sequence[str]) -> str:
    """Names that there are, for a message: the first 40."""
    return ", ".join(names[:40]) + (f" and {len(names) - 40:,} more" if len(names) > 40 else "")


class Lift(NamedTuple):
    """The columns of a table after what stands under nested names was moved to columns of these names."""

    schema: pa.Schema
    paths: Sequence[tuple[str, tuple[str, ...]]]  # (name, the keys that lead to it) in the order of moving
    names: Sequence[str]  # those that there are, nested ones too, for messages

    @classmethod
    def of(cls, columns_of: pa.Schema, names: Iterable[str]) -> "Lift":
        """What `names`, those that the setting `columns` gives, find in a table with these columns."""
        paths = []
        there = list(names_in(_tree(columns_of)))
        for name in names:
            path = path_of(_tree(columns_of), name)
            if path is not None and len(path) > 1:
                columns_of = columns_of.append(pa.field(name, _type_at(columns_of.field(path[0]), path[1:])))
                columns_of = _replaced(columns_of, path[0], _field_without(columns_of.field(path[0]), path[1:]))
                paths.append((name, path))
        return cls(columns_of.remove_metadata(), paths, there)

    def columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The columns of a batch of the table, in the order of `schema`."""
        names, found = list(batch.schema.names), list(batch.columns)
        for name, path in self.paths:
            at = names.index(path[0])
            value = found[at]
            for key in path[1:]:
                value = pc.struct_field(value, key)
            rest = _column_without(found[at], path[1:])
            if rest is None:
                del names[at], found[at]
            else:
                found[at] = rest
            names.append(name)
            found.append(value)
        return found


def _tree(fields: Iterable[pa.Field]) -> dict[str, Any]:
    """The names of columns, those of structs with the names inside them, as `path_of` walks them."""
    return {f.name: _tree(f.type) if pa.types.is_struct(f.type) else None for f in fields}


def _type_at(outer: pa.Field, path: Sequence[str]) -> pa.DataType:
    """The type of what stands at a path inside a struct."""
    for key in path:
        outer = outer.type.field(key)
    return outer.type


def _replaced(columns_of: pa.Schema, name: str, new: pa.Field | None) -> pa.Schema:
    """The schema with another field in place of the one of this name, or without it."""
    at = columns_of.names.index(name)
    return columns_of.remove(at) if new is None else columns_of.set(at, new)


def _field_without(outer: pa.Field, path: Sequence[str]) -> pa.Field | None:
    """A struct's field without what stands at a path inside it; None where nothing is left."""
    inner = [f if f.name != path[0] else _field_without(f, path[1:]) if len(path) > 1 else None for f in outer.type]
    left = [f for f in inner if f is not None]
    return outer.with_type(pa.struct(left)) if left else None


def _column_without(outer: pa.StructArray, path: Sequence[str]) -> pa.StructArray | None:
    """A struct column without what stands at a path inside it; None where nothing is left."""
    left = {}
    for i, f in enumerate(outer.type):
        column = outer.field(i)
        if f.name == path[0]:
            column = _column_without(column, path[1:]) if len(path) > 1 else None
        if column is not None:
            left[f.name] = column
    if not left:
        return None
    return pa.StructArray.from_arrays(list(left.values()), names=list(left), mask=outer.is_null())


# -- types -----------------------------------------------------------------------------------------------------


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The type that a column is carried in: one spelling of text, of bytes and of lists, dictionaries as their values.

    Maps are lists of keys and values, which every reader of Parquet has. None where there is no such type, as of a
    union: such a column goes into `extra`.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return plain(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain(kind.value_type)
    if is_text(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_map(kind):
        return plain(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    if not pa.types.is_nested(kind):
        return None if pa.types.is_interval(kind) or pa.types.is_duration(kind) else kind  # Parquet has no such type
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    found = [None if is_view(one) else plain(one) for one in inner]  # lists of views: the library cannot convert them
    if not found or None in found or not (is_list(kind) or pa.types.is_struct(kind)):
        return None
    if is_list(kind):
        return pa.list_(found[0])
    return pa.struct([(kind.field(i).name, one) for i, one in enumerate(found)])


def is_view(kind: pa.DataType) -> bool:
    """Whether a type is a list whose values may lie in any order."""
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is a list, in any of Arrow's layouts."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind) or is_view(kind)
    )


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
    found = targets(names, columns, trusted=trusted)
    kind = kind_of(found)
    content = "text" if kind == "document" else next((n for n in ("payload", "html") if n in found), None)
    if kind is None or content is None:
        needed = f"`{columns['text']}`, which `columns` reads as text" if "text" in columns else "`text` (nor `html`)"
        raise SchemaError(
            f"{where}: no column {needed}; it has: {listed(names)}; "
            "name the one that holds the text with `columns: {text: NAME}`, or --columns text=NAME"
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
    if name == "source":
        return lambda value: _text(value) or None
    if pa.types.is_boolean(kind):
        return _truth
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


def expected(kind: pa.DataType) -> str:
    """What the values of a known column are, as the end of "cannot be read as"."""
    if pa.types.is_timestamp(kind):
        return "times"
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_float32(kind):
        return "numbers"
    if pa.types.is_integer(kind):
        low, high = _bounds(kind)
        return f"whole numbers from {low:,} to {high - 1:,}"
    return "ids of 16 bytes or 32 hex digits" if pa.types.is_fixed_size_binary(kind) else "text"


def _bounds(kind: pa.DataType) -> tuple[int, int]:
    """The least number that an integer type can hold, and one more than the largest."""
    bits = kind.bit_width
    return (0, 2**bits) if pa.types.is_unsigned_integer(kind) else (-(2 ** (bits - 1)), 2 ** (bits - 1))


def _truth(value: Any) -> bool | None:
    """true or false, as such, as 1 or 0, or as these words."""
    if isinstance(value, str):
        return {"true": True, "false": False, "1": True, "0": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _whole(kind: pa.DataType, value: Any) -> int | None:
    """A whole number that the integer type `kind` can hold; 3.0 and "3" are 3, and True is no number."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,20}\s*", value):
        value = int(value)
    low, high = _bounds(kind)
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
    """A doc_id of 16 bytes, of 32 hex digits, or of a UUID as it is written; None for anything else."""
    if isinstance(value, bytes):
        return value if len(value) == 16 else None
    if not isinstance(value, str) or len(value) > 50:
        return None
    written = re.fullmatch(r"<?(?:urn:uuid:)?([0-9a-f]{8}(-?)(?:[0-9a-f]{4}\2){3}[0-9a-f]{12})>?", value, re.IGNORECASE)
    return bytes.fromhex(written[1].replace("-", "")) if written else None


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
