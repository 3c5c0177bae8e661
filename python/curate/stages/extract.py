"""extract: the main text of every page; a page that gives none is a reject with its reason.

The extractor `blocks` is this package's own: it decides for each block of a page whether it is content, in time linear
in the page, inside the worker. The other extractors are parsers of other projects, or a function of yours:
`extractor: package.module:function` names one that takes a page's bytes and its declared charset and returns text; the
command must allow its package (`--allow-code package`). They run in a child process, which is killed where a page
takes too long, and which can neither change files nor use the network where the system can refuse that (`curate plan`
and run.log say where it cannot). Rows that are documents already pass unchanged.

`page_type` and `page_type_score` say what kind of page it is (article, forum, product, listing, collection,
documentation, service), and how sure that is.

Several policies give several texts in one pass: the first is `text`, each of the others `text_POLICY`, with
`extract_score_POLICY` and `extract_share_POLICY` beside it. Rules judge the first; with `union: true` a page stays
where any of its texts passes, and its `text` is that of the first policy that does.

Every page that an extractor failed at, or was killed at, is a reject with its URL and the reason (extract.error,
extract.timeout). Where they are more than `max_failures` of the pages, the run stops.

    curate extract crawl/*.warc.gz --out pages
    curate extract crawl/ --policy balanced --policy recall --out pages
    curate extract --explain page.html   why each block was kept or not
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator, model_validator

from curate import kernels, schema
from curate.config import ByteSize, Settings, setting, suggest
from curate.errors import ConfigError
from curate.extract.extractors import EXTRACTORS
from curate.extract.sandbox import Crashed, Sandbox, Timeout, remark
from curate.stages.protocol import Applied, Failures, Phase, Side, Stage, with_verdicts

BLOCKS = "blocks"

LIBRARIES = {
    "cascade": ("trafilatura", "resiliparse", "lxml"),
    "trafilatura": ("trafilatura", "lxml"),
    "trafilatura-precision": ("trafilatura", "lxml"),
    "resiliparse": ("resiliparse",),
}
"""The packages whose versions enter the fingerprint of an extractor's texts. Those of `blocks` change with the version
of the stage alone."""

RULES = {
    "extract.not_html": "NUL bytes",
    "extract.too_large": "bytes",
    "extract.empty": "characters",
    "extract.low_score": "mean probability of the words extracted",
    "extract.timeout": "seconds",
    "extract.error": "",
}
"""Rule -> unit of its value and limit; empty where it measures nothing."""

_HTML = ("text/html", "application/xhtml+xml", "application/xml", "text/xml")


class Extract(Settings):
    """The extractor, what it writes, and the limits by which pages and texts are rejected."""

    extractor: str = setting(
        BLOCKS,
        "one of blocks, cascade, trafilatura, trafilatura-precision, resiliparse, or your package.module:function",
    )
    output: Literal["text", "markdown", "blocks"] = setting(
        "text",
        "plain text; Markdown of headings, lists, quotes, code, tables, emphasis; or blocks: plain text and a column "
        "`blocks` that says of each part what it is, which later steps do not change (blocks only)",
    )
    links: Literal["text", "inline", "reference", "drop"] = setting(
        "text", "their text; text and address, inline or in a list at the end (Markdown only); or neither (blocks only)"
    )
    images: Literal["drop", "alt", "inline"] = setting(
        "drop", "nothing; their alternative text; or that and their address (Markdown only) (blocks only)"
    )
    comments: Literal["keep", "drop"] = setting(
        "keep", "readers' comments; drop spares a page that is mostly comments, as a forum (blocks only)"
    )
    policy: list[Literal["balanced", "precision", "recall"]] = setting(
        ["balanced"], "how much is kept: what gives the highest F1, less, or more; several give several texts "
        "(blocks only)", min_length=1,
    )  # fmt: skip
    union: bool = setting(False, "a page stays where one of its policies' texts passes, not the first (blocks only)")
    min_score: float = setting(
        0.0, "pages whose text is less sure are rejected as extract.low_score (blocks only)", unit="0..1", ge=0, le=1
    )
    max_bytes: ByteSize = setting(5 << 20, "larger pages are rejected as extract.too_large", unit="bytes", ge=1)
    min_chars: int = setting(1, "shorter texts are rejected as extract.empty", unit="characters", ge=1)
    timeout: float = setting(
        5.0, "time a page may take, without that of a busy machine, before it is rejected (not blocks)",
        unit="seconds", gt=0,
    )  # fmt: skip
    parser_memory: ByteSize = setting(
        4 << 30, "address space of the process that parses (not blocks)", unit="bytes", ge=1 << 28
    )
    max_failures: float = setting(
        0.05, "the run stops where a larger share of pages is rejected as extract.error or extract.timeout",
        unit="0..1", ge=0, le=1,
    )  # fmt: skip

    @field_validator("extractor")
    @classmethod
    def _known(cls, name: str) -> str:
        known = [BLOCKS, *EXTRACTORS]
        if name in known:
            return name
        module, colon, function = name.partition(":")
        if not (colon and module and function.isidentifier()):
            raise ValueError(f'no extractor is named "{name}"{suggest(name, known)}')
        return name  # whether it may be imported is decided when it is: curate/plugins.py

    @field_validator("policy")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError(f"{', '.join(names)} names a policy twice")
        return names

    @model_validator(mode="after")
    def _addresses_need_markdown(self) -> "Extract":
        for name, value in (("links", self.links), ("images", self.images)):
            if value in ("inline", "reference") and self.output != "markdown":
                raise ValueError(f'{name} is "{value}", which only output "markdown" can write; it is "{self.output}"')
        return self


FOUND = pa.schema(
    {
        "text": pa.large_string(),
        "title": pa.string(),
        "language": pa.string(),
        "score": pa.float32(),
        "share": pa.float32(),
        "page_type": pa.string(),
        "page_type_score": pa.float32(),
        "rule": pa.string(),  # the rule that rejects the page, null where it stays; the three after it say why
        "value": pa.float64(),
        "limit": pa.float64(),
        "detail": pa.string(),
    }
)
"""Extraction results, one row a page; kept in Arrow, since the text of a hostile page takes megabytes. After these
columns come text_POLICY, score_POLICY and share_POLICY of each policy but the first."""


def _more(config: Extract) -> Sequence[str]:
    """The policies but the first, which have columns of their own; an extractor of others' has no policies."""
    return config.policy[1:] if config.extractor == BLOCKS else ()


def _found_schema(config: Extract) -> pa.Schema:
    """FOUND with the columns of further policies."""
    fields = list(FOUND)
    for policy in _more(config):
        fields += [pa.field(f"{name}_{policy}", FOUND.field(name).type) for name in ("text", "score", "share")]
    return pa.schema(fields)


TYPED = pa.large_list(
    pa.struct(
        [
            pa.field("kind", pa.string(), nullable=False),
            pa.field("level", pa.uint8(), nullable=False),
            pa.field("text", pa.large_string(), nullable=False),
            pa.field("score", pa.float32(), nullable=False),
        ]
    )
)
"""The column `blocks` of the output "blocks": kind is heading, paragraph, item, quote, definition, code, table (a line
a row, a tab between cells) or caption; level is that of a heading or the depth of an item or a quotation, else 0; score
is the mean probability of its bytes. It is null where a page was not extracted from HTML."""


class State:
    """The settings and, unless the extractor is `blocks`, the child process that runs it; one a worker.

    Raises ConfigError where the user's function cannot be used.
    """

    def __init__(self, config: Extract, side: Side) -> None:
        self.config = config
        self.allowed = list(side.allowed)
        self.sandbox: Sandbox | None = None
        if config.extractor != BLOCKS:
            target = "curate.extract.extractors:extract"
            probe = {"extractor": config.extractor, "allowed": self.allowed, "probe": True}
            self.sandbox = Sandbox(target, timeout=config.timeout, memory_bytes=config.parser_memory, prepare=probe)
            if ":" in config.extractor:
                self._open(self.sandbox)

    def _open(self, sandbox: Sandbox) -> None:
        """Look the user's function up before the first page: later its absence would make every page a reject."""
        try:
            sandbox.open()
        except (Crashed, Timeout) as error:
            raise ConfigError(f"extract.extractor: {self.config.extractor} cannot be used: {error}") from None


def close(state: State) -> None:
    """End the child process, if there is one."""
    if state.sandbox:
        state.sandbox.close()


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """RAW rows to DOCUMENT rows with verdicts; columns that RAW does not know are carried on.

    Each row is refused unread, decoded (text/plain), or extracted (HTML). The three groups are treated one after the
    other, and the results put back into the order of the rows.
    """
    kinds = batch.column("content_type").to_pylist()
    pages = batch.column("payload").fill_null(b"")
    charsets = batch.column("charset").fill_null("")
    refused = _refused(pages, kinds, state.config)
    html = [row for row, kind in enumerate(kinds) if row not in refused and kind != "text/plain"]
    plain = [row for row, kind in enumerate(kinds) if row not in refused and kind == "text/plain"]
    parts = [_found(list(refused.values()), state.config)]
    for rows, extract in ((plain, _decoded), (html, _blocks if state.sandbox is None else _foreign)):
        every = len(rows) == batch.num_rows  # then the columns serve as they are: `take` would copy the pages
        if rows:
            chosen = (pages, charsets) if every else (pages.take(rows), charsets.take(rows))
            parts.append(_judged(extract(*chosen, state), state.config))
    filled = [part for part in parts if part.num_rows] or parts[:1]
    if state.config.output == "blocks":
        filled = [_with_blocks(part) for part in filled]
    order = np.argsort([*refused, *plain, *html])
    found = filled[0] if len(filled) == 1 else pa.concat_batches(filled).take(order)
    return _documents(batch, found, state.config)


PAGE_ONLY = ("content_type", "charset", "payload")
"""Columns of RAW that describe the page and not the document."""


def _documents(batch: pa.RecordBatch, found: pa.RecordBatch, config: Extract) -> Applied:
    """The columns of the batch that a document has, with the results of `found` (FOUND) and its verdicts."""
    columns = {name: batch.column(name) for name in batch.schema.names if name not in PAGE_ONLY}
    one = pa.repeat(pa.scalar(1, pa.uint32()), batch.num_rows)
    columns |= {
        "text": found.column("text"),
        "n_copies": pc.fill_null(columns["n_copies"], 1) if "n_copies" in columns else one,
        "title": found.column("title"),
        "lang_declared": found.column("language"),
        "extract_score": found.column("score"),
        "extract_share": found.column("share"),
        "page_type": found.column("page_type").dictionary_encode().cast(schema.CATEGORY),
        "page_type_score": found.column("page_type_score"),
    }
    for policy in _more(config):
        columns[f"text_{policy}"] = found.column(f"text_{policy}")
        columns[f"extract_score_{policy}"] = found.column(f"score_{policy}")
        columns[f"extract_share_{policy}"] = found.column(f"share_{policy}")
    if "blocks" in found.schema.names:
        columns["blocks"] = found.column("blocks")
    documents = schema.conform(pa.RecordBatch.from_pydict(columns), schema.DOCUMENT)
    return with_verdicts(documents, *(found.column(name) for name in ("rule", "value", "limit", "detail")))


def _with_blocks(found: pa.RecordBatch) -> pa.RecordBatch:
    """`found` with the column `blocks`, null where there is none."""
    if "blocks" in found.schema.names:
        return found
    return found.append_column("blocks", pa.nulls(found.num_rows, TYPED))


def _found(rows: list[dict[str, Any]], config: Extract) -> pa.RecordBatch:
    """Rows as FOUND: columns that a row does not name are null, its text empty; each policy has the same text."""
    filled = [{"text": "", **row} for row in rows]
    for policy in _more(config):
        filled = [{**row, f"text_{policy}": row["text"]} for row in filled]
    return pa.RecordBatch.from_pylist(filled, _found_schema(config))


def _refused(pages: pa.Array, kinds: list[str | None], config: Extract) -> dict[int, dict[str, Any]]:
    """Row -> FOUND columns of the pages that are not extracted: another media type, too large, or binary."""
    sizes, nuls = pc.binary_length(pages).to_pylist(), _nuls(pages)
    pdf = pc.starts_with(pages, b"%PDF-").to_pylist()
    refused: dict[int, dict[str, Any]] = {}
    for row, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        if kind is not None and kind not in _HTML and kind != "text/plain":
            refused[row] = {"rule": "extract.not_html", "detail": kind}
        elif size > config.max_bytes:
            refused[row] = {"rule": "extract.too_large", "value": size, "limit": config.max_bytes}
        # Servers call PDF and archives text/html. A page may hold some NUL bytes by mistake: 8, or one in 100.
        elif pdf[row] or (nuls[row] > max(8, size // 100) and not _is_wide(pages.slice(row, 1))):
            refused[row] = {"rule": "extract.not_html", "value": nuls[row], "detail": "binary content"}
    return refused


def _nuls(pages: pa.LargeBinaryArray) -> list[int]:
    """How many NUL bytes each page has. Few batches have any, and Arrow's search takes 0.3 ms a page."""
    starts, values = np.frombuffer(pages.buffers()[1], np.int64), np.frombuffer(pages.buffers()[2] or b"", np.uint8)
    start, end = starts[pages.offset], starts[pages.offset + len(pages)]
    if start == end or values[start:end].min():
        return [0] * len(pages)
    return pc.count_substring(pages, b"\0").to_pylist()  # type: ignore[no-any-return]


def _is_wide(page: pa.Array) -> bool:
    """Whether the page is UTF-16 or UTF-32, where NUL bytes are part of the characters."""
    encoding = kernels.decode_html(page, pa.array([""])).field("encoding")[0].as_py()
    return bool(encoding.startswith(("UTF-16", "UTF-32")))


def _judged(found: pa.RecordBatch, config: Extract) -> pa.RecordBatch:
    """`found` with the rules extract.empty and extract.low_score on texts that are too short or too unsure.

    Rows that another rule rejected keep that rule. With `union` a row is judged by its best text: that of the first
    policy that passes becomes its text.
    """
    free = pc.is_null(found.column("rule"))
    versions = [("text", "score", "share")]
    if config.union:
        versions += [(f"text_{policy}", f"score_{policy}", f"share_{policy}") for policy in _more(config)]
    passed = [_passes(found.column(text), found.column(score), config) for text, score, _ in versions]
    if len(versions) > 1:
        found = _first_that_passes(found, versions, passed)
    chars, score = pc.utf8_length(found.column("text")), found.column("score")
    short = pc.and_(free, pc.less(chars, config.min_chars))
    unsure = pc.and_(pc.and_not(free, short), pc.fill_null(pc.less(score, config.min_score), False))
    for name, empty, low in [
        ("rule", "extract.empty", "extract.low_score"),
        ("value", chars, score),
        ("limit", config.min_chars, config.min_score),
    ]:
        kind = FOUND.field(name).type
        empty, low = (v.cast(kind) if isinstance(v, pa.Array) else pa.scalar(v, kind) for v in (empty, low))
        changed = pc.case_when(pc.make_struct(short, unsure), empty, low, found.column(name))
        found = found.set_column(found.schema.get_field_index(name), FOUND.field(name), changed)
    return found


def _passes(text: pa.Array, score: pa.Array, config: Extract) -> pa.Array:
    """Whether a text is long and sure enough."""
    sure = pc.fill_null(pc.greater_equal(score, config.min_score), True)
    return pc.and_(pc.greater_equal(pc.utf8_length(text), config.min_chars), sure)


def _first_that_passes(
    found: pa.RecordBatch, versions: list[tuple[str, str, str]], passed: list[pa.Array]
) -> pa.RecordBatch:
    """`found` whose text, score and share are those of the first version that passes; of the first where none does."""
    which = pc.make_struct(*passed, field_names=[str(i) for i in range(len(passed))])
    for at, name in enumerate(("text", "score", "share")):
        columns = [found.column(version[at]) for version in versions]
        chosen = pc.case_when(which, *columns, columns[0])
        found = found.set_column(found.schema.get_field_index(name), FOUND.field(name), chosen)
    return found


def _decoded(pages: pa.Array, charsets: pa.Array, state: State) -> pa.RecordBatch:
    """text/plain: the page's text as it is, without white space at both ends."""
    texts = kernels.decode_html(pages, charsets).field("text").to_pylist()
    return _found([{"text": text.strip()} for text in texts], state.config)


def _blocks(pages: pa.Array, charsets: pa.Array, state: State) -> pa.RecordBatch:
    """FOUND rows by the Rust extractor; score and share are null where it failed (extract.error)."""
    config = state.config
    found = kernels.extract_html(
        pages,
        charsets,
        format=config.output,
        links=config.links,
        images=config.images,
        comments=config.comments,
        policies=config.policy,
    )
    good, none = found.field("error").is_null(), pa.nulls(len(found), pa.float64())
    columns = {
        "text": found.field("text"),
        "title": _or_null(found.field("title")),
        "language": _or_null(found.field("language")),
        "score": pc.if_else(good, found.field("score"), None),
        "share": pc.if_else(good, found.field("share"), None),
        "page_type": _or_null(found.field("page_type")),
        "page_type_score": pc.if_else(pc.equal(found.field("page_type"), ""), None, found.field("page_type_score")),
        "rule": pc.if_else(good, pa.scalar(None, pa.string()), "extract.error"),
        "value": none,
        "limit": none,
        "detail": found.field("error"),
    }
    for policy in _more(config):
        columns[f"text_{policy}"] = found.field(f"text_{policy}")
        for name in ("score", "share"):
            columns[f"{name}_{policy}"] = pc.if_else(good, found.field(f"{name}_{policy}"), None)
    batch = pa.RecordBatch.from_pydict(columns, _found_schema(config))
    if config.output != "blocks":
        return batch
    return batch.append_column("blocks", found.field("blocks").cast(TYPED))


def _or_null(column: pa.Array) -> pa.Array:
    """Texts of which the empty ones are null: the kernel has no nulls."""
    return pc.if_else(pc.equal(column, ""), None, column).cast(pa.string())


def _foreign(pages: pa.Array, charsets: pa.Array, state: State) -> pa.RecordBatch:
    """FOUND rows by an extractor in the child process, one page at a time."""
    config = state.config
    rows: list[dict[str, Any]] = []
    assert state.sandbox is not None
    for page, charset in zip(pages, charsets.to_pylist(), strict=True):
        try:
            text = state.sandbox.call(
                page.as_py(), extractor=config.extractor, allowed=state.allowed, charset=charset or None
            )
            rows.append({"text": text.replace("\0", "").strip()})
        except Timeout as error:
            limit = config.timeout
            rows.append({"rule": "extract.timeout", "value": limit, "limit": limit, "detail": str(error)})
        except Crashed as error:
            rows.append({"rule": "extract.error", "detail": str(error)})
    return _found(rows, config)


def _remarks(config: Extract) -> list[str]:
    """What the child process of a foreign extractor can do on this machine although it should not."""
    if config.extractor == BLOCKS:
        return []
    return [remark(f"extract: {config.extractor}")]


STAGE = Stage(
    name="extract",
    version=11,
    summary="Main text out of HTML pages.",
    config=Extract,
    rows=lambda config: "raw",
    makes="document",
    needs=lambda config: ("payload",),
    own_pass=True,
    expected=lambda config: (0.05, 1.0),
    rules=lambda config: RULES,
    limits=lambda config: {
        "extract.too_large": config.max_bytes,
        "extract.empty": config.min_chars,
        "extract.low_score": config.min_score,
        "extract.timeout": config.timeout,
    },
    code=lambda config: [config.extractor] if ":" in config.extractor else [],
    libraries=lambda config: LIBRARIES.get(config.extractor, ()),
    failures=lambda config: Failures(("extract.error", "extract.timeout"), config.max_failures, "max_failures"),
    remarks=_remarks,
    # All but max_failures, which changes no row.
    phases=(
        Phase(
            "apply",
            "each",
            open=State,
            apply=apply,
            close=close,
            settings=tuple(name for name in Extract.model_fields if name != "max_failures"),
        ),
    ),
)
