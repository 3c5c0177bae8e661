"""URLs: the links in a page, and the one form in which a URL is asked for and recorded.

Links are found by regular expressions, not by a parser: a crawl needs href and src of a few tags, from pages
that may be cut off or no HTML at all. `absolute` is the only way from text to a URL that is asked for.
"""

import html
import re
from urllib.parse import quote, urljoin, urlsplit

MAX_URL = 2_000  # characters; longer links come from sites that generate pages without end

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
# None of these matches beyond the tag that it began in, so that their time is linear in the page, whatever it holds.
_VALUE = rb"""\s*=\s*("[^"<>]*"|'[^'<>]*'|[^\s"'<>\\]+)"""
LINK = re.compile(rb"<(?:a|area|i?frame)\s(?:[^<>]*?\s)?(?:href|src)" + _VALUE, re.I)
_BASE = re.compile(rb"<base\s(?:[^<>]*?\s)?href" + _VALUE, re.I)


def links(page: bytes, url: str) -> list[str]:
    """The URLs that the HTML page at `url` links to or frames, in their order, each once."""
    base = _BASE.search(page)
    root = (absolute(_attribute(base), url) if base else None) or url
    found = (absolute(_attribute(match), root) for match in LINK.finditer(page))
    return list(dict.fromkeys(link for link in found if link))


def _attribute(match: re.Match[bytes]) -> str:
    """The value of the attribute that was found, without its quotes, entities resolved."""
    return html.unescape(match[1].strip(b"\"'").decode("utf-8", "replace"))


def absolute(link: str, base: str = "") -> str | None:
    """`link` as an absolute URL without fragment, safe in a header line; None where it is no web address."""
    try:
        parts = urlsplit(urljoin(base, link.strip()))
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or parts.username is not None:
        return None
    # The port of the scheme is left out, and everything but ASCII quoted: one page, one URL, one line of a request.
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        netloc += f":{port}"
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~[]") or "/"
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~[]?") if parts.query else ""
    url = f"{parts.scheme}://{netloc}{path}{query}"
    return url if len(url) <= MAX_URL else None


def folder(url: str) -> str:
    """The URL up to its last slash: the scope of a seed."""
    path = url.partition("?")[0]
    return path[: path.rindex("/") + 1]
