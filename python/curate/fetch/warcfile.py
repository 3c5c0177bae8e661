"""WARC/1.1 files of request and response records, a gzip member each, cut at a size.

A file begins with a warcinfo record, then has two records a page: the request and the response, which name each other
and the warcinfo record; or records of another archive, byte for byte. Digests are SHA-1, in base32, as other crawlers
write them. While it is written a file is called PREFIX-00000.warc.gz.part, and a kill leaves whole records in it.
"""

import base64
import gzip
import hashlib
import io
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from curate.fetch.archive import PART, SOFTWARE, Archive
from curate.fetch.http import Answer
from curate.fetch.settings import AccessSettings


class WarcFiles:
    """The files OUT/PREFIX-00000.warc.gz and so on, continued after those that are there.

    Nothing that a server says is part of their names.
    """

    def __init__(self, out: Path, settings: AccessSettings, there: Archive) -> None:
        self.out = out
        self.settings = settings
        self.files = list(there.files)
        self.count = len(there.records)  # pages, or records of another archive
        self.file: io.FileIO | None = None
        self.info_id = there.part_id
        if there.part is not None:
            self._continue(there.part, there.part_bytes)

    def write(self, answer: Answer) -> None:
        """Append the two records of a page; OSError where the disk refuses."""
        self._open(answer.date)
        self.count += 1
        ids = [_record_id(kind, self.count, answer.url) for kind in ("request", "response")]
        common = {
            "WARC-Date": answer.date, "WARC-Target-URI": answer.url, "WARC-IP-Address": answer.ip,
            "WARC-Warcinfo-ID": self.info_id,
        }  # fmt: skip
        request = {"WARC-Type": "request", "WARC-Record-ID": ids[0], "WARC-Concurrent-To": ids[1]}
        response = {"WARC-Type": "response", "WARC-Record-ID": ids[1], "WARC-Concurrent-To": ids[0]}
        response["WARC-Payload-Digest"] = f"sha1:{sha1(answer.response[answer.head_bytes :])}"
        if answer.truncated:
            response["WARC-Truncated"] = "length"
        self._append(
            _record(request | common, "application/http; msgtype=request", answer.request)
            + _record(response | common, "application/http; msgtype=response", answer.response)
        )

    def take(self, member: bytes) -> None:
        """Append a record of another archive, a whole gzip member, as it is."""
        self._open(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.count += 1
        self._append(member)

    def _continue(self, part: Path, whole_bytes: int) -> None:
        """Open the unfinished file of an earlier call, without the half record at its end."""
        if not whole_bytes:
            part.unlink()
            return
        self.file = io.FileIO(part, "r+")
        self.file.truncate(whole_bytes)
        self.file.seek(whole_bytes)
        self.files.append(part.with_name(part.name.removesuffix(PART)))

    def _open(self, date: str) -> None:
        """See that a file is open that may grow; where it is a new one, `date` is when it begins."""
        if self.file is not None and self.file.tell() >= self.settings.file_bytes:
            self.close()
        if self.file is not None:
            return
        number = int(self.files[-1].name.removesuffix(".warc.gz").rpartition("-")[2]) + 1 if self.files else 0
        name = f"{self.settings.prefix}-{number:05}.warc.gz"
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = io.FileIO(self.out / f"{name}{PART}", "w")
        self.files.append(self.out / name)
        self.info_id = _record_id("warcinfo", self.count, name)
        head = {"WARC-Type": "warcinfo", "WARC-Record-ID": self.info_id}
        head |= {"WARC-Date": date, "WARC-Filename": name}
        body = {"software": SOFTWARE, "format": "WARC File Format 1.1"}
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
            self.file.seek(whole_bytes)
            raise

    def close(self) -> None:
        """Complete the file at hand, which gives it its name."""
        if self.file is not None:
            os.fsync(self.file.fileno())
            self.file.close()
            self.file = None
            self.files[-1].with_name(f"{self.files[-1].name}{PART}").replace(self.files[-1])


def _record(head: dict[str, str], content_type: str, block: bytes) -> bytes:
    """A record as a gzip member; the time in the gzip header is 0, so that equal records are equal bytes."""
    head = {**head, "WARC-Block-Digest": f"sha1:{sha1(block)}", "Content-Type": content_type}
    head["Content-Length"] = str(len(block))
    return gzip.compress(b"WARC/1.1\r\n" + _fields(head) + b"\r\n" + block + b"\r\n\r\n", 6, mtime=0)


def _fields(fields: dict[str, str]) -> bytes:
    """`name: value` lines. Values hold no line end: URLs are quoted, the rest is ours."""
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode()


def sha1(data: bytes) -> str:
    """As WARC headers and indexes have it: 32 characters of base32."""
    return base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def _record_id(kind: str, order: int, name: str) -> str:
    """The identity of a record; documents derive theirs from it, so the same crawl gives the same ones."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {order} {name}')}>"
