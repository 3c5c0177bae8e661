"""extract: the main text of every page; a page that gives none is a reject with its reason.

Pages meet the parsers in a killable child (extract/sandbox.py). Rows that already are documents go through.
"""

from typing import Any, Literal

import pyarrow as pa

from curate import schema
from curate.config import Settings, setting
from curate.extract.sandbox import Crashed, Sandbox, Timeout
from curate.stages.protocol import Phase, Side, Stage, with_verdict

_HTML = ("text/html", "application/xhtml+xml", "application/xml", "text/xml")


class Extract(Settings):
    extractor: Literal["cascade", "trafilatura", "trafilatura-precision", "resiliparse"] = setting(
        "cascade", "cascade: trafilatura's fast mode, resiliparse where that finds too little"
    )
    max_bytes: int = setting(5 << 20, "larger pages are rejected as extract.too_large", unit="bytes", ge=1)
    timeout: float = setting(5.0, "CPU time a page may take before it is rejected", unit="seconds", gt=0)
    min_chars: int = setting(1, "shorter texts are rejected as extract.empty", unit="characters", ge=0)
    memory: int = setting(4 << 30, "address space of the process that parses", unit="bytes", ge=1 << 28)


class State:
    def __init__(self, config: Extract) -> None:
        self.config = config
        self.sandbox = Sandbox("curate.extract.extractors:extract", timeout=config.timeout, memory_bytes=config.memory)


def open_state(config: Extract, side: Side) -> State:
    return State(config)


def apply(batch: pa.RecordBatch, state: State) -> pa.RecordBatch:
    """RAW rows to DOCUMENT rows with verdicts."""
    texts: list[str] = []
    verdicts: list[tuple[str | None, float | None, float | None, str | None]] = []
    rows = zip(
        batch.column("payload"),
        batch.column("content_type").to_pylist(),
        batch.column("charset").to_pylist(),
        strict=True,
    )
    for payload, kind, charset in rows:
        text, *verdict = _page(payload.as_py() or b"", kind, charset, state)
        texts.append(text)
        verdicts.append(tuple(verdict))
    n = batch.num_rows
    documents = pa.RecordBatch.from_pydict(
        {
            **{
                name: batch.column(name)
                for name in ("doc_id", "source", "url", "crawled_at", "origin_file", "origin_offset")
            },
            "text": pa.array(texts, pa.large_string()),
            "n_copies": pa.array([1] * n, pa.uint32()),
        }
    )
    documents = schema.conform(documents, schema.DOCUMENT)
    rule, value, limit, detail = (list(column) for column in zip(*verdicts, strict=True))
    return with_verdict(documents, rule, value, limit, detail)


def _page(page: bytes, kind: str | None, charset: str | None, state: State) -> tuple[Any, ...]:
    """(text, rule, value, limit, detail) of one page."""
    config = state.config
    extractor = config.extractor
    if kind is not None and kind not in _HTML:
        if kind != "text/plain":
            return "", "extract.not_html", None, None, kind
        extractor = "plain"  # type: ignore[assignment]
    if len(page) > config.max_bytes:
        return "", "extract.too_large", len(page), config.max_bytes, None
    if page.startswith(b"%PDF-") or (
        page.count(b"\0") > max(8, len(page) // 100) and page[:2] not in (b"\xff\xfe", b"\xfe\xff")
    ):
        return "", "extract.not_html", page.count(b"\0"), None, "binary content"
    try:
        text = state.sandbox.call(page, extractor=extractor, charset=charset)
    except Timeout:
        return "", "extract.timeout", config.timeout, config.timeout, None
    except Crashed as error:
        return "", "extract.error", None, None, str(error)
    text = text.replace("\0", "").strip()
    if len(text) < max(1, config.min_chars):
        return text, "extract.empty", len(text), config.min_chars, None
    return text, None, None, None, None


STAGE = Stage(
    name="extract",
    version=1,
    summary="Main text out of HTML pages.",
    config=Extract,
    needs=("payload",),
    own_pass=True,
    libraries=lambda config: ("trafilatura", "resiliparse", "lxml"),
    phases=(Phase("apply", "each", open=open_state, apply=apply),),
)
