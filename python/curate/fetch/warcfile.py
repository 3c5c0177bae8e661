"""WARC/1.1 files of request and response records, a gzip member each, cut at a size.

A file begins with a warcinfo record, then has two records a page: the request and the response, which name each other
and the warcinfo record. Digests are SHA-1, in base32, as other crawlers write them. While it is written a file is
called PREFIX-00000.warc.gz.part, and a kill leaves whole records in it.
"""

import base64
import gzip
import hashlib
import io
import uuid
from pathlib import Path

from curate.errors import ConfigError
from curate.fetch.http import Answer
from curate.fetch.settings import FetchSettings


class WarcFiles:
    """The files of a crawl: OUT/PREFIX-00000.warc.gz and so on. Nothing that a server says is part of their names."""

    def __init__(self, out: Path, settings: FetchSettings) -> None:
        self.out = out
        self.settings = settings
        self.files: list[Path] = []
        self.count = 0  # pages written
        self.file: io.FileIO | None = None
        self.info_id = ""
        old = min(out.glob(f"{settings.prefix}-*.warc.gz"), default=None)
        if old is not None:
            raise ConfigError(f"{old}: stands here already; remove it, or give another folder or prefix")

    def write(self, answer: Answer) -> None:
        """Append the two records of a page; OSError where the disk refuses."""
        self.count += 1
        if self.file is None:
            self._open(answer.date)
        ids = [_record_id(kind, self.count, answer.url) for kind in ("request", "response")]
        common = {
            "WARC-Date": answer.date, "WARC-Target-URI": answer.url, "WARC-IP-Address": answer.ip,
            "WARC-Warcinfo-ID": self.info_id,
        }  # fmt: skip
        request = {"WARC-Type": "request", "WARC-Record-ID": ids[0], "WARC-Concurrent-To": ids[1]}
        response = {"WARC-Type": "response", "WARC-Record-ID": ids[1], "WARC-Concurrent-To": ids[0]}
        response["WARC-Payload-Digest"] = _digest(answer.response[answer.head_bytes :])
        if answer.truncated:
            response["WARC-Truncated"] = "length"
        self._append(
            _record(request | common, "application/http; msgtype=request", answer.request)
            + _record(response | common, "application/http; msgtype=response", answer.response)
        )

    def _open(self, date: str) -> None:
        """Begin the next file with its warcinfo record."""
        name = f"{self.settings.prefix}-{len(self.files):05}.warc.gz"
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = io.FileIO(self.out / f"{name}.part", "w")
        self.files.append(self.out / name)
        self.info_id = _record_id("warcinfo", self.count, name)
        head = {"WARC-Type": "warcinfo", "WARC-Record-ID": self.info_id}
        head |= {"WARC-Date": date, "WARC-Filename": name}
        body = {"software": "curate fetch", "format": "WARC File Format 1.1"}
        body["http-header-user-agent"] = self.settings.user_agent
        self._append(_record(head, "application/warc-fields", _fields(body)))

    def _append(self, records: bytes) -> None:
        """All of `records` or, where the disk is full or the user interrupts, nothing."""
        assert self.file is not None
        whole_bytes, rest = self.file.tell(), memoryview(records)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except BaseException:
            self.file.truncate(whole_bytes)
            raise
        if self.file.tell() >= self.settings.file_bytes:
            self.close()

    def close(self) -> None:
        """Complete the file at hand, which gives it its name."""
        if self.file is not None:
            self.file.close()
            self.file = None
            self.files[-1].with_name(f"{self.files[-1].name}.part").replace(self.files[-1])


def _record(head: dict[str, str], content_type: str, block: bytes) -> bytes:
    """A record as a gzip member; the time in the gzip header is 0, so that equal records are equal bytes."""
    head = {**head, "WARC-Block-Digest": _digest(block), "Content-Type": content_type}
    head["Content-Length"] = str(len(block))
    return gzip.compress(b"WARC/1.1\r\n" + _fields(head) + b"\r\n" + block + b"\r\n\r\n", 6, mtime=0)


def _fields(fields: dict[str, str]) -> bytes:
    """`name: value` lines. Values hold no line end: URLs are quoted, the rest is ours."""
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode()


def _digest(data: bytes) -> str:
    """As WARC headers have it: `sha1:` and 32 characters of base32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def _record_id(kind: str, order: int, name: str) -> str:
    """The identity of a record; documents derive theirs from it, so the same crawl gives the same ones."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {order} {name}')}>"
