"""The one form in which addresses and texts are compared, where they need not be equal byte for byte.

The canonical form of a URL: scheme and fragment left out, host in lower case without `www.` and default port, path
with %-escapes of unreserved characters decoded and no slash at the end, query parameters sorted, without those that
only track (utm_*, gclid, fbclid, msclkid, phpsessid, jsessionid). For example

    http://WWW.Example.com:80/a/?b=2&a=1&utm_source=x#top
    is example.com/a?a=1&b=2
"""

import re
from urllib.parse import urlsplit

import pyarrow as pa

from curate import kernels

# No server takes longer addresses, and no name is as long as this host. Longer ones are not worth the time that the
# standard library's parser takes for them, which grows with the square of a host's combining marks.
MAX_URL = 16_384  # characters
MAX_HOST = 1_024  # characters

_TRACKING = re.compile(r"utm_\w+|gclid|fbclid|msclkid|phpsessid|jsessionid", re.ASCII)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
_HOST_ENDS = re.compile(r"[/?#]")
_SPACE = re.compile(r"\s+")
_PORTS = {"http": 80, "https": 443}


def _decoded(escape: re.Match[str]) -> str:
    """An unreserved character as itself, any other escape in upper case."""
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def canonical_url(url: str) -> str:
    """The canonical form of an address; one that is too long or cannot be parsed stays as it is."""
    if len(url) > MAX_URL or len(_HOST_ENDS.split(url.partition("//")[2], maxsplit=1)[0]) > MAX_HOST:
        return url
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


def normal_texts(texts: pa.Array) -> pa.Array:
    """Texts after NFC, lower-casing, and joining white space."""
    composed = kernels.nfc(texts).to_pylist()
    return pa.array([_SPACE.sub(" ", text.lower()).strip() for text in composed], pa.large_string())
