"""Settings of a crawl: what to record, how far to follow links, and how gently.

The defaults are those of a polite guest: one request a second to a host, robots.txt obeyed, links followed only below
the folders of the URLs given, no page longer than 10 MiB, no host outside the public internet.
"""

import re

from pydantic import field_validator

from curate.config import ByteSize, Settings, setting


class FetchSettings(Settings):
    """What to record, how far to follow links, and how gently."""

    scope: tuple[str, ...] = setting((), "URL prefixes to follow links in; empty: the folder of every seed")
    exclude: tuple[str, ...] = setting((), "regular expressions; links that match one are not followed")
    max_pages: int = setting(1000, "URLs to try at most, redirects and failures included", ge=1)
    max_bytes: ByteSize = setting(10 << 20, "length at which a response is cut off", unit="bytes", ge=1024)
    concurrency: int = setting(4, "threads; they never change the output", ge=1, le=64)
    delay: float = setting(1.0, "pause between requests to a host, loopback excepted", unit="seconds", ge=0)
    timeout: float = setting(15.0, "wait for the next bytes; four times it for a page", unit="seconds", gt=0)
    retries: int = setting(2, "further tries where a host fails or is busy", ge=0)
    allow_private: bool = setting(
        False,
        "also ask hosts at addresses that are not public (loopback, your own network): the URLs given, and what pages "
        "at such addresses link to",
    )
    user_agent: str = setting("curate-fetch", "name given to hosts and looked up in robots.txt", min_length=1)
    prefix: str = setting("crawl", "file names begin with it: PREFIX-00000.warc.gz")
    file_bytes: ByteSize = setting(1 << 30, "size at which the next file is begun", unit="bytes", ge=1)

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
