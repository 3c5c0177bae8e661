"""extract: the main text of every page; a page that gives none is a reject with its reason.

`blocks` is our own: it decides for each block of a page whether it is content, in time linear in the page, and
runs in the worker. The other extractors are other people's parsers, and yours: `extractor: package.module:function`
names a function that takes the page's bytes and its declared charset and returns text. They run in a process that
can be killed. Rows that already are documents go through.

    curate extract crawl/*.warc.gz --out pages
    curate extract --explain page.html   why each block was kept or not
"""

import importlib.util
from typing import Literal, NamedTuple

import pyarrow as pa
from pydantic import field_validator

from curate import kernels, schema
from curate.config import Settings, setting, suggest
from curate.errors import ConfigError
from curate.extract.extractors import EXTRACTORS
from curate.extract.sandbox import Crashed, Sandbox, Timeout
from curate.stages.protocol import Phase, Side, Stage, with_verdict

BLOCKS = "blocks"

LIBRARIES = {
    "cascade": ("trafilatura", "resiliparse", "lxml"),
    "trafilatura": ("trafilatura", "lxml"),
    "trafilatura-precision": ("trafilatura", "lxml"),
    "resiliparse": ("resiliparse",),
}
"""The libraries whose versions decide an extractor's texts; ours is part of this package, and versions itself."""

_HTML = ("text/html", "application/xhtml+xml", "application/xml", "text/xml")


class Extract(Settings):
    extractor: str = setting(
        BLOCKS,
        "one of blocks, cascade, trafilatura, trafilatura-precision, resiliparse, or your package.module:function",
    )
    output: Literal["text", "markdown"] = setting(
        "text", "plain text, or light Markdown: headings, lists, quotes, code, tables (blocks only)"
    )
    comments: Literal["keep", "drop"] = setting(
        "keep", "readers' comments; drop spares a page that is mostly comments, as a forum (blocks only)"
    )
    min_score: float = setting(
        0.0, "pages whose text is less sure are rejected as extract.low_score (blocks only)", unit="0..1", ge=0, le=1
    )
    max_bytes: int = setting(5 << 20, "larger pages are rejected as extract.too_large", unit="bytes", ge=1)
    min_chars: int = setting(1, "shorter texts are rejected as extract.empty", unit="characters", ge=0)
    timeout: float = setting(5.0, "CPU time a page may take before it is rejected (not blocks)", unit="seconds", gt=0)
    parser_memory: int = setting(
        4 << 30, "address space of the process that parses (not blocks)", unit="bytes", ge=1 << 28
    )

    @field_validator("extractor")
    @classmethod
    def _known(cls, name: str) -> str:
        known = [BLOCKS, *EXTRACTORS]
        if name in known:
            return name
        module, colon, function = name.partition(":")
        if not (colon and module and function.isidentifier()):
            raise ValueError(f'no extractor is named "{name}"{suggest(name, known)}')
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise ValueError(f'"{name}": no module is named {module}; is its folder on PYTHONPATH?')
        return name


class Result(NamedTuple):
    """The text of a page, or the rule that rejects it."""

    text: str = ""
    rule: str | None = None
    value: float | None = None
    limit: float | None = None
    detail: str | None = None
    title: str | None = None
    language: str | None = None
    score: float | None = None
    share: float | None = None


class State:
    def __init__(self, config: Extract, side: Side) -> None:
        self.config = config
        self.sandbox: Sandbox | None = None
        if config.extractor != BLOCKS:
            target = "curate.extract.extractors:extract"
            self.sandbox = Sandbox(target, timeout=config.timeout, memory_bytes=config.parser_memory)
        if ":" in config.extractor:
            self._probe(self.sandbox)

    def _probe(self, sandbox: Sandbox | None) -> None:
        """Your own function must be there before the first page, or every page would be a reject."""
        assert sandbox is not None
        try:
            sandbox.call(b"", extractor=self.config.extractor, probe=True)
        except (Crashed, Timeout) as error:
            raise ConfigError(f"extract.extractor: {self.config.extractor} cannot be used: {error}") from None


def apply(batch: pa.RecordBatch, state: State) -> pa.RecordBatch:
    """RAW rows to DOCUMENT rows with verdicts."""
    kinds = batch.column("content_type").to_pylist()
    pages = batch.column("payload").fill_null(b"")
    charsets = batch.column("charset").fill_null("")
    results: list[Result | None] = [_refused(pages[i].as_py(), kinds[i], state.config) for i in range(batch.num_rows)]
    html = [i for i, result in enumerate(results) if result is None and kinds[i] != "text/plain"]
    plain = [i for i, result in enumerate(results) if result is None and kinds[i] == "text/plain"]
    for rows, extract in ((plain, _decoded), (html, _blocks if state.sandbox is None else _foreign)):
        if rows:
            every = len(rows) == batch.num_rows  # taking them would copy the pages
            chosen = (pages, charsets) if every else (pages.take(rows), charsets.take(rows))
            for row, result in zip(rows, extract(*chosen, state), strict=True):
                results[row] = _judged(result, state.config)
    return _documents(batch, [result or Result() for result in results])


def _documents(batch: pa.RecordBatch, results: list[Result]) -> pa.RecordBatch:
    kept = ("doc_id", "source", "url", "crawled_at", "origin_file", "origin_offset")
    columns = {name: batch.column(name) for name in kept}
    columns["text"] = pa.array([result.text for result in results], pa.large_string())
    columns["n_copies"] = pa.array([1] * len(results), pa.uint32())
    columns["title"] = pa.array([result.title for result in results], pa.string())
    columns["lang_declared"] = pa.array([result.language for result in results], pa.string())
    columns["extract_score"] = pa.array([result.score for result in results], pa.float32())
    columns["extract_share"] = pa.array([result.share for result in results], pa.float32())
    documents = schema.conform(pa.RecordBatch.from_pydict(columns), schema.DOCUMENT)
    verdicts = [list(column) for column in zip(*(result[1:5] for result in results), strict=True)] or [[], [], [], []]
    return with_verdict(documents, *verdicts)


def _refused(page: bytes, kind: str | None, config: Extract) -> Result | None:
    """Why a page is not looked at, if it is not."""
    if kind is not None and kind not in _HTML and kind != "text/plain":
        return Result(rule="extract.not_html", detail=kind)
    if len(page) > config.max_bytes:
        return Result(rule="extract.too_large", value=len(page), limit=config.max_bytes)
    if page.startswith(b"%PDF-") or (page.count(b"\0") > max(8, len(page) // 100) and not _is_wide(page)):
        return Result(rule="extract.not_html", value=page.count(b"\0"), detail="binary content")
    return None


def _is_wide(page: bytes) -> bool:
    """Whether the page is UTF-16 or UTF-32, where NUL bytes are part of the characters."""
    encoding = kernels.decode_html(pa.array([page], pa.large_binary()), pa.array([""])).field("encoding")[0].as_py()
    return bool(encoding.startswith(("UTF-16", "UTF-32")))


def _judged(result: Result, config: Extract) -> Result:
    """The result, rejected where its text is too short or too unsure."""
    if result.rule is not None:
        return result
    text = result.text.replace("\0", "").strip()
    if len(text) < max(1, config.min_chars):
        return result._replace(text=text, rule="extract.empty", value=len(text), limit=config.min_chars)
    if result.score is not None and result.score < config.min_score:
        return result._replace(text=text, rule="extract.low_score", value=result.score, limit=config.min_score)
    return result._replace(text=text)


def _decoded(pages: pa.Array, charsets: pa.Array, state: State) -> list[Result]:
    """text/plain: the text as it is."""
    return [Result(text) for text in kernels.decode_html(pages, charsets).field("text").to_pylist()]


def _blocks(pages: pa.Array, charsets: pa.Array, state: State) -> list[Result]:
    config = state.config
    found = kernels.extract_html(pages, charsets, format=config.output, comments=config.comments)
    return [
        Result(rule="extract.error", detail=row["error"])
        if row["error"] is not None
        else Result(
            row["text"],
            title=row["title"] or None,
            language=row["language"] or None,
            score=row["score"],
            share=row["share"],
        )
        for row in found.to_pylist()
    ]


def _foreign(pages: pa.Array, charsets: pa.Array, state: State) -> list[Result]:
    """One page at a time in the child."""
    config, results = state.config, []
    assert state.sandbox is not None
    for page, charset in zip(pages, charsets.to_pylist(), strict=True):
        try:
            text = state.sandbox.call(page.as_py(), extractor=config.extractor, charset=charset or None)
            results.append(Result(text))
        except Timeout:
            results.append(Result(rule="extract.timeout", value=config.timeout, limit=config.timeout))
        except Crashed as error:
            results.append(Result(rule="extract.error", detail=str(error)))
    return results


STAGE = Stage(
    name="extract",
    version=2,
    summary="Main text out of HTML pages.",
    config=Extract,
    needs=("payload",),
    own_pass=True,
    libraries=lambda config: LIBRARIES.get(config.extractor, ()),
    phases=(Phase("apply", "each", open=State, apply=apply),),
)
