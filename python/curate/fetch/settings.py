"""Settings of `curate fetch`: what to record or take, how far to follow links, and how gently.

The defaults are those of a polite guest: one request a second to a host, robots.txt obeyed, links followed only below
the folders of the URLs given, no page longer than 10 MiB, no host outside the public internet.
"""

import re
from typing import Literal

from pydantic import field_validator

from curate.config import ByteSize, Settings, setting
from curate.fetch.links import absolute


class AccessSettings(Settings):
    """How servers are asked, and how WARC files are written: the same for web pages and for Common Crawl."""

    max_bytes: ByteSize = setting(
        10 << 20, "length at which a page is cut off; a longer record of an archive is left out", unit="bytes", ge=1024
    )
    concurrency: int = setting(4, "requests at a time; the output does not depend on it", ge=1, le=64)
    timeout: float = setting(
        15.0, "wait for the next bytes; four times it for a page, or for a MiB of a file", unit="seconds", gt=0
    )
    retries: int = setting(2, "further tries where a host fails or is busy, with growing pauses", ge=0)
    max_delay: float = setting(
        60.0, "longest pause that a Crawl-delay or Retry-After is obeyed for", unit="seconds", ge=0
    )
    allow_private: bool = setting(
        False,
        "also ask hosts at addresses that are not public (loopback, your own network): the URLs given, and what pages "
        "at such addresses link to",
    )
    user_agent: str = setting("curate-fetch", "name given to hosts and looked up in robots.txt", min_length=1)
    prefix: str = setting("crawl", "file names begin with it: PREFIX-00000.warc.gz")
    file_bytes: ByteSize = setting(1 << 30, "size at which the next file is begun", unit="bytes", ge=1)

    @field_validator("user_agent")
    @classmethod
    def _one_line(cls, name: str) -> str:
        # It becomes a line of every request; a line end in it would smuggle in further headers.
        if not (name.isascii() and name.isprintable()):
            raise ValueError(f"must be printable ASCII on one line, found {name!r}")
        return name

    @field_validator("prefix")
    @classmethod
    def _file_name(cls, prefix: str) -> str:
        # It is the only part of the file names that is not fixed, so it may not lead out of the folder.
        if not re.fullmatch(r"\w[\w.-]*", prefix):
            raise ValueError(f"must be letters, digits, '_', '.' or '-', found {prefix!r}")
        return prefix


class FetchSettings(AccessSettings):
    """What to record of the web, and how far to follow links."""

    follow: bool = setting(True, "follow the links in pages; with --list: no")
    scope: tuple[str, ...] = setting((), "URL prefixes to follow links in; empty: the folder of every URL given")
    exclude: tuple[str, ...] = setting((), "regular expressions; links that match one are not followed")
    max_pages: int = setting(1000, "URLs to try at most, redirects and failures included; with --list: all of it", ge=1)
    delay: float = setting(1.0, "pause between requests to a host, loopback excepted", unit="seconds", ge=0)

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        # A mistake is told before the first request, with the pattern that holds it.
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns


class CommonCrawlSettings(AccessSettings):
    """What to take of a crawl of Common Crawl: whole files, or single records that its index names."""

    # A busy server of Common Crawl answers 403 or 503 for minutes, and asks for few requests at a time.
    concurrency: int = setting(2, "requests at a time; the output does not depend on it", ge=1, le=64)
    retries: int = setting(7, "further tries where a host fails or is busy, with growing pauses", ge=0)

    common_crawl: str = setting(..., "name of the crawl, as CC-MAIN-2026-05")
    kind: Literal["warc", "wet", "wat"] = setting("warc", "files to take: pages, their text, or their metadata")
    files: int = setting(1, "whole files to take, in the order of the crawl's list", ge=1)
    skip: int = setting(0, "files of the list to pass over first", ge=0)
    url: tuple[str, ...] = setting(
        (), "take the records of these URLs in place of whole files: example.org/page, example.org/*, *.example.org"
    )
    index_filter: tuple[str, ...] = setting(
        (), "conditions that the index puts to records, as =status:200 or mime:html"
    )
    max_records: int = setting(1000, "records to take at most", ge=1)
    max_file_bytes: ByteSize = setting(8 << 30, "length beyond which a whole file is refused", unit="bytes", ge=1)
    data_base: str = setting("https://data.commoncrawl.org", "address that the files are below")
    index_base: str = setting("https://index.commoncrawl.org", "address that the index is below")

    @field_validator("common_crawl")
    @classmethod
    def _crawl_name(cls, name: str) -> str:
        # It becomes a part of addresses.
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*(/[A-Za-z0-9][\w-]*)*", name, re.ASCII):
            raise ValueError(f"must be the name of a crawl, as CC-MAIN-2026-05, found {name!r}")
        return name

    @field_validator("data_base", "index_base")
    @classmethod
    def _web_address(cls, address: str) -> str:
        if absolute(address) is None or "?" in address or "#" in address:
            raise ValueError(f"must be a web address, as https://example.org/mirror, found {address!r}")
        return address.rstrip("/")
