"""exact_dedup: of documents with the same text, or the same address, one stays.

hash emits 16 bytes of SHA-256 of every text into partitions (two texts share them by chance once in 2^64
documents or so), pick finds the groups of a partition, apply drops the copies and counts them on the one kept.

What is compared, by the settings `by` and `of`:

    text, raw           byte for byte
    text, normalized    after NFC, lower-casing, joining white space
    url                 the address in canonical form; documents without stay

The canonical form of a URL: scheme and fragment left out, host in lower case without `www.` and default port, path
with %-escapes of unreserved characters decoded and no slash at the end, query parameters sorted, without those that
only track (utm_*, gclid, fbclid, msclkid, phpsessid, jsessionid). For example

    http://WWW.Example.com:80/a/?b=2&a=1&utm_source=x#top
    is example.com/a?a=1&b=2
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, Self
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import kernels
from curate.config import Settings, setting
from curate.stages.keep import (
    KEEP_LIST_BYTES,
    KEEP_MEANING,
    SOURCES_MEANING,
    Keep,
    KeepList,
    check_keep,
    keep_list,
    rank_columns,
)
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage

_TRACKING = re.compile(r"utm_\w+|gclid|fbclid|msclkid|phpsessid|jsessionid", re.ASCII)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_SPACE = re.compile(r"\s+")
_PORTS = {"http": 80, "https": 443}


class ExactDedup(Settings):
    by: Literal["text", "url"] = setting("text", "what makes two documents copies: their text or their address")
    of: Literal["raw", "normalized"] = setting(
        "raw", "compare texts byte for byte, or after NFC, lower-casing and joining white space"
    )
    keep: Keep = setting("first", KEEP_MEANING)
    sources: list[str] = setting([], SOURCES_MEANING)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_keep(self.keep, self.sources)
        return self


def _decoded(escape: re.Match[str]) -> str:
    """An unreserved character as itself, any other escape in upper case."""
    character = chr(int(escape[1], 16))
    return character if re.fullmatch(r"[A-Za-z0-9._~-]", character) else escape[0].upper()


def canonical_url(url: str) -> str:
    """The form in which addresses are compared (see above); an address that cannot be parsed stays as it is."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").removeprefix("www."), parts.port
    except ValueError:
        return url
    if not host:
        return url
    if port is not None and port != _PORTS.get(parts.scheme.lower()):
        host = f"{host}:{port}"
    path = _ESCAPE.sub(_decoded, parts.path)
    query = sorted(p for p in parts.query.split("&") if p and not _TRACKING.fullmatch(p.partition("=")[0].lower()))
    return host + path.rstrip("/") + ("?" + "&".join(query) if query else "")


def normal_text(text: str) -> str:
    """The form in which texts are compared with `of: normalized`."""
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text).lower()).strip()


def hash_texts(batch: pa.RecordBatch, config: ExactDedup) -> Applied:
    column = batch.column("text")
    chosen = batch
    if config.by == "url":
        chosen = batch.filter(pc.is_valid(batch.column("url")))
        column = pa.array([canonical_url(url) for url in chosen.column("url").to_pylist()], pa.large_string())
    elif config.of == "normalized":
        column = pa.array([normal_text(text) for text in column.to_pylist()], pa.large_string())
    digest = kernels.sha256(column).cast(pa.binary())
    digest = pc.binary_slice(digest, 0, 16).cast(pa.binary(16))
    ranks = rank_columns(chosen, config.keep, config.sources)
    return Applied(batch, emits={"hashes": pa.RecordBatch.from_pydict({"hash": digest, **ranks})})


def pick(config: ExactDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    rows = reads.rows("hash.hashes")
    for (part,) in reads.parts(rows, [], "hash", KEEP_LIST_BYTES) if rows.num_rows else []:
        yield "keep", keep_list(part, "hash")


def open_keep_list(config: ExactDedup, side: Side) -> KeepList:
    return KeepList(side.table("pick.keep"))


def apply(batch: pa.RecordBatch, state: KeepList) -> pa.RecordBatch:
    return state.apply(batch, "exact_dedup.copy", None)


STAGE = Stage(
    name="exact_dedup",
    version=2,
    summary="Keep one of identical texts (SHA-256).",
    config=ExactDedup,
    phases=(
        Phase("hash", "each", apply=hash_texts, emits=(Channel("hashes", by="hash"),)),
        Phase("pick", "part", run=pick, reads=("hash.hashes",), emits=(Channel("keep"),), settings=()),
        Phase("apply", "each", open=open_keep_list, apply=apply, side=("pick.keep",), settings=()),
    ),
)
