"""The Arrow schemas of everything that crosses a file; none is inferred from the first rows.

Crawl records become RAW rows, extraction turns them into DOCUMENT rows, and every later step reads and writes
DOCUMENT; whatever it drops, cuts or marks is a REJECT row. Meanings, units and ranges are in the field metadata.
Columns that a step does not know pass through untouched.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import pyarrow as pa

from curate.errors import SchemaError

VERSION = 2  # of the formats; written into token shards

Kind = Literal["raw", "document"]
"""What a row is: a page before extraction, or a document. It is carried beside the rows, never told by a column."""

DOC_ID = pa.binary(16)
CATEGORY = pa.dictionary(pa.int32(), pa.string())  # text of few distinct values
TIME = pa.timestamp("us", tz="UTC")


def _field(name: str, kind: pa.DataType, meaning: str, unit: str = "", nullable: bool = True) -> pa.Field:
    """A field with its meaning, and its unit where it has one, as metadata."""
    metadata = {"meaning": meaning, **({"unit": unit} if unit else {})}
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


_DOC_ID = _field(
    "doc_id",
    DOC_ID,
    "first 16 bytes of SHA-256 of the place in the input; the key of every join",
    nullable=False,
)
_SOURCE = _field("source", CATEGORY, "mixing domain, set by the recipe's input")
_URL = _field("url", pa.string(), "address the document came from; null where unknown")
_CRAWLED = _field("crawled_at", TIME, "time of the crawl; null where unknown", "UTC")
_FILE = _field("origin_file", CATEGORY, "input file, relative to the input's root")
_OFFSET = _field(
    "origin_offset",
    pa.int64(),
    "byte of the record in the file (of the compressed member in a .gz), or row",
    "bytes or rows",
)
_SOURCE_ID = _field("source_id", pa.string(), "the id that the input gave the document; null where it gave none")
_EXTRA = _field(
    "extra",
    pa.large_string(),
    "a JSON object of what the input said beside the known columns and has no column of its own; null for nothing",
)

RAW = pa.schema(
    [
        _DOC_ID, _SOURCE, _URL, _CRAWLED, _FILE, _OFFSET, _SOURCE_ID,
        _field(
            "content_type",
            pa.string(),
            "media type, without parameters, as declared, or as the crawler found it where that says nothing",
        ),
        _field("charset", pa.string(), "charset as declared by the server; null where it declared none"),
        _field("payload", pa.large_binary(), "the body, transfer- and content-decoded", "bytes"),
        _EXTRA,
    ]
)  # fmt: skip

DOCUMENT = pa.schema(
    [
        _DOC_ID, _SOURCE, _URL, _CRAWLED, _FILE, _OFFSET, _SOURCE_ID,
        _field("text", pa.large_string(), "the document, valid UTF-8", nullable=False),
        _field("title", pa.string(), "title of the page; set by extract"),
        _field("synthetic", pa.bool_(), "true where a model wrote it"),
        _field("lang_declared", CATEGORY, "language tag that the page declares, lower case; set by extract"),
        _field("extract_score", pa.float32(), "mean probability of the words extracted; set by extract", "0..1"),
        _field("extract_share", pa.float32(), "words extracted among the page's; set by extract", "0..1"),
        _field("page_type", CATEGORY, "kind of page, as article or forum; set by extract"),
        _field("page_type_score", pa.float32(), "probability of page_type", "0..1"),
        _field("lang", CATEGORY, "language: ISO 639-1, else 639-3, or und or mixed; set by langid"),
        _field("lang_score", pa.float32(), "confidence of lang", "0..1"),
        _field("quality_score", pa.float32(), "higher is better; set by the input or by quality", "0..1"),
        _field("n_redactions", pa.uint32(), "spans replaced by redact", "count"),
        _field("cluster_id", DOC_ID, "doc_id of the representative, set by the last deduplication"),
        _field("n_copies", pa.uint32(), "documents that this one stands for, itself included", "count"),
        _field("n_tokens", pa.uint32(), "set by tokenize", "count"),
        _EXTRA,
    ]
)  # fmt: skip

SCHEMA_OF: dict[Kind, pa.Schema] = {"raw": RAW, "document": DOCUMENT}

REJECT = pa.schema(
    [
        _DOC_ID,
        _field("action", CATEGORY, "drop: the document left; cut: a span left; mark: noted only"),
        _field("stage", CATEGORY, "the step that decided"),
        _field("rule", CATEGORY, "the rule, named stage.rule or preset.rule"),
        _field("value", pa.float64(), "what the rule measured; null where it is no number"),
        _field("limit", pa.float64(), "the limit it was compared with; null where it is no number"),
        _field("detail", pa.string(), "what is no number: a language, the doc_id of the copy kept, an error"),
        _field("preset", CATEGORY, "the preset the rule belongs to, where it has one"),
        _field("span_start", pa.int64(), "first byte of the span in the text as it stood; null for a drop", "bytes"),
        _field("span_end", pa.int64(), "end of the span, exclusive", "bytes"),
        _SOURCE, _URL, _FILE, _OFFSET,
        _field("excerpt", pa.large_string(), "the beginning of the text; never from redact", "at most 200 characters"),
    ]
)  # fmt: skip

# Token shards: 16-bit ids where the vocabulary has at most 65,536 tokens, else TOKENS_32.
TOKENS_16 = pa.schema(
    [
        _DOC_ID,
        _field("tokens", pa.large_list(pa.uint16()), "token ids, the end-of-document id last", nullable=False),
        _field("n_tokens", pa.uint32(), "length of tokens", "count", nullable=False),
        _field(
            "text_bytes",
            pa.uint64(),
            "UTF-8 bytes of the text that the tokens encode",
            "bytes",
            nullable=False,
        ),
    ]
)
TOKENS_32 = TOKENS_16.set(1, TOKENS_16.field("tokens").with_type(pa.large_list(pa.uint32())))

# What a reader or a step decided about each row of a batch, in a batch of as many rows beside it.
VERDICT = pa.schema(
    [
        pa.field("action", pa.string()),  # null: the row is dropped; "mark": it stays, and the verdict is recorded
        pa.field("rule", pa.string()),  # null: no verdict
        pa.field("value", pa.float64()),
        pa.field("limit", pa.float64()),
        pa.field("detail", pa.string()),
    ]
)

# Spans that a step cut or marked; `row` is the row of the batch it was given.
MARK = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("action", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("limit", pa.float64()),
        pa.field("detail", pa.string()),
        pa.field("span_start", pa.int64()),
        pa.field("span_end", pa.int64()),
    ]
)


def verdicts(
    rule: list[str | None] | pa.Array, value: Any = None, limit: Any = None, detail: Any = None, action: Any = None
) -> pa.RecordBatch:
    """VERDICT rows: row i has a verdict where rule[i] is not None, and is dropped unless action[i] is "mark".

    value, limit, detail and action are lists or arrays as long as rule, or one value for all rows.
    """
    columns = {"action": action, "rule": rule, "value": value, "limit": limit, "detail": detail}
    return _rows(VERDICT, len(rule), columns)


def marks(
    row: Any, action: str, rule: Any, start: Any, end: Any, value: Any = None, limit: Any = None, detail: Any = None
) -> pa.RecordBatch:
    """MARK rows, one a row number in `row`. Spans are bytes of the row's text before the step; None: the whole row.

    The others are lists or arrays as long as row, or one value for all rows.
    """
    columns = {"row": row, "action": action, "rule": rule, "value": value, "limit": limit, "detail": detail}
    return _rows(MARK, len(row), {**columns, "span_start": start, "span_end": end})


def _rows(schema: pa.Schema, n: int, columns: dict[str, Any]) -> pa.RecordBatch:
    """n rows with the schema's columns, each given as an array, a list or one value for all rows."""
    arrays = []
    for field in schema:
        values = columns[field.name]
        if values is None:
            arrays.append(pa.nulls(n, field.type))
        elif isinstance(values, pa.Array | pa.ChunkedArray):
            arrays.append(values if values.type == field.type else values.cast(field.type))
        elif isinstance(values, str | float | int):
            arrays.append(pa.repeat(pa.scalar(values, field.type), n))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def doc_id(origin_file: str, offset: int, record_id: str = "") -> bytes:
    """The 16-byte id of a document: the same place in the same input has the same id in every run.

    `origin_file` and `offset` are the columns of these names; `record_id` tells records at one place apart.
    """
    return hashlib.sha256(f"{origin_file}\0{offset}\0{record_id}".encode()).digest()[:16]


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` with the schema's columns first, in order and type (missing ones null), then its other columns.

    Raises SchemaError where a column cannot be of the schema's type.
    """
    columns, fields = [], []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        if index < 0:
            column = pa.nulls(batch.num_rows, field.type)
        else:
            column = batch.column(index)
            if column.type != field.type:
                column = _cast(column, field)
        columns.append(column)
        fields.append(field)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if schema.get_field_index(field.name) < 0:
            columns.append(column)
            fields.append(field)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    """The column as the type of the field; SchemaError where values do not fit."""
    try:
        if pa.types.is_dictionary(column.type) and pa.types.is_dictionary(field.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_dictionary(field.type):
            return column.cast(field.type.value_type).dictionary_encode().cast(field.type)
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f'column "{field.name}" is {column.type} and cannot be read as {field.type}: {error}'
        ) from None


def require(schema: pa.Schema, names: Iterable[str], where: str) -> None:
    """Raise SchemaError naming the columns that `where` needs and the schema lacks."""
    missing = [name for name in names if schema.get_field_index(name) < 0]
    if missing:
        has = ", ".join(schema.names)
        raise SchemaError(
            f"{where} needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; the input has: {has}"
        )
