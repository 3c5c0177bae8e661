"""What form a file has: by its first bytes, and by its name where these do not tell.

At most HEAD stored bytes are looked at. Of gzip and xz they decode to some kilobytes of content; of zstd, bzip2 and
lz4, which are compressed block by block, often to nothing: then the name decides, and a form that must be told from
its content (JSON lines or one array) is left to a reader that takes both.
"""

import json
import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from curate.io.compressed import Codec, codec_of, decoded_head

Format = Literal[
    "warc", "wet", "jsonl", "json", "parquet", "arrow", "csv", "tsv", "html", "mhtml", "text", "wiki", "tar"
]

HEAD = 4096  # stored bytes of a file that are looked at
CONTENT = 16 << 10  # bytes that they may decode to

# Forms that the setting `format` may name -> the forms of files that are then read, each in its own way.
FAMILIES: dict[str, tuple[Format, ...]] = {
    "warc": ("warc",), "wet": ("wet",), "jsonl": ("jsonl", "json"), "parquet": ("parquet",), "arrow": ("arrow",),
    "csv": ("csv",), "tsv": ("tsv",), "html": ("html", "mhtml"), "text": ("text",), "wiki": ("wiki",), "tar": ("tar",),
}  # fmt: skip

TITLES: dict[Format, str] = {
    "warc": "web archive", "wet": "WET", "jsonl": "JSON lines", "json": "JSON", "parquet": "Parquet",
    "arrow": "Arrow IPC", "csv": "CSV", "tsv": "TSV", "html": "saved pages", "mhtml": "saved pages (MHTML)",
    "text": "text and source", "wiki": "extracted Wikipedia", "tar": "tar of samples",
}  # fmt: skip

# Suffixes of names. A compressed file has that of its codec after them.
_CODECS: dict[str, Codec] = {
    ".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".xz": "xz", ".bz2": "bz2", ".lz4": "lz4",
}  # fmt: skip
_SUFFIXES: dict[str, Format] = {
    ".warc": "warc", ".arc": "warc", ".wacz": "warc", ".wet": "wet",
    ".jsonl": "jsonl", ".jsonlines": "jsonl", ".ndjson": "jsonl", ".jl": "jsonl", ".json": "json",
    ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".arrows": "arrow", ".ipc": "arrow", ".feather": "arrow",
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".tar": "tar", ".tgz": "tar",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".mhtml": "mhtml", ".mht": "mhtml",
    ".txt": "text", ".text": "text",
}  # fmt: skip
SOURCE = frozenset(
    (".md", ".rst", ".tex", ".py", ".rs", ".c", ".h", ".cc", ".cpp", ".hpp", ".java", ".js", ".ts", ".go", ".rb")
    + (".sh", ".sql", ".r", ".jl", ".scala", ".kt", ".swift", ".php", ".pl", ".lua", ".hs", ".ml", ".css", ".toml")
    + (".ini", ".cfg")
)
"""Suffixes of source code and of documents about it, which are read as text."""

TABLES: tuple[Format, ...] = ("parquet", "arrow", "csv", "tsv")
_SEEKABLE: tuple[Format, ...] = ("parquet", "arrow")  # forms that are not read from within a compressed file

# -- why a file is not read ----------------------------------------------------------------------------------------

UNKNOWN = "of no form that is known; `format` says how to read them"
BINARY = "binary, of no form that is read"
ARCHIVES = "archives or office files; unpack or convert them"
POINTERS = "Git LFS pointers, not the files themselves; `git lfs pull` gets these"
WAT = "WAT, the metadata of a crawl, which holds no documents"
COMPRESSED = "compressed in a form that is not read (gz, zst, xz, bz2 and lz4 are); unpack them"
PACKED = "Parquet, Arrow or zip inside a compressed file; unpack them"
OTHER_ARCHIVE = "web archives compressed as xz, bz2 or lz4; compress their records as gzip or zstd"
OTHER_TAR = "tar archives of other files than samples of text; unpack them"

_MAGIC: tuple[tuple[bytes, Format | str], ...] = (
    (b"PAR1", "parquet"), (b"PARE", "parquet"), (b"ARROW1", "arrow"), (b"WARC/", "warc"), (b"filedesc://", "warc"),
    (b"PK\x03\x04", ARCHIVES), (b"PK\x05\x06", ARCHIVES), (b"7z\xbc\xaf\x27\x1c", ARCHIVES), (b"Rar!", ARCHIVES),
    (b"%PDF", ARCHIVES), (b"\xd0\xcf\x11\xe0", ARCHIVES), (b"version https://git-lfs", POINTERS),
)  # fmt: skip
_OTHER_CODECS = (".lzma", ".lzo", ".sz", ".snappy", ".br", ".z", ".7z")
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*|<!--(?:[^-]|-[^-])*-->\s*)*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE
)
_MHTML = re.compile(rb"(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?content-type:\s*multipart/related", re.IGNORECASE)
# Members of a tar whose texts are documents or pages; others lie beside them in a sample.
TAR_TEXTS = (".txt", ".text", ".json")
TAR_PAGES = (".html", ".htm")
TAR_BLOCK = 512


Texts = Collection[str]


class Form(NamedTuple):
    """What a file is: how it is read, or why not."""

    format: Format | None
    codec: Codec = ""
    why: str = ""  # where it is not read
    size: int = 0  # of what a pointer stands for
    raw: bool = False  # of a tar: its samples are pages
    loose: bool = False  # a lone JSON object without a text: settings or a description, as a rule


def by_name(name: str) -> tuple[Format | None, Codec, str]:
    """(form, codec, last suffix without that of the codec) that a name tells; None where it tells no form."""
    base = name.lower().rpartition("/")[2].removesuffix(".open")
    codec: Codec = ""
    for suffix, found in _CODECS.items():
        if base.endswith(suffix):
            base, codec = base.removesuffix(suffix), found
    suffix = _suffix(base)
    if base.endswith((".warc.wet", ".wet")):
        return "wet", codec, suffix
    if suffix == ".jl" and not codec:
        return None, codec, suffix  # JSON lines or Julia: the content tells
    form = _SUFFIXES.get(suffix) or ("text" if suffix in SOURCE else None)
    return form, "gzip" if suffix == ".tgz" else codec, suffix


def _suffix(base: str) -> str:
    """The last suffix of a file's name, with its dot; "" where there is none."""
    stem, dot, last = base.rpartition(".")
    return dot + last if stem and dot else ""


def of(name: str, head: bytes, size: int, texts: Texts = ("text", "html", "payload")) -> Form:
    """The form of a file of `size` bytes that begins with `head` (at most HEAD bytes); `texts` are the names of the
    input's columns of text."""
    named, named_codec, suffix = by_name(name)
    if not head:
        return Form(named, named_codec if size else "") if named else _jl(suffix) or Form(None, why=UNKNOWN)
    codec = codec_of(head)
    content = decoded_head(head, codec, CONTENT)
    if suffix == ".wat":
        return Form(None, codec, WAT)
    found = _by_magic(content, named)
    if codec in ("xz", "bz2", "lz4") and (found == "warc" or named in ("warc", "wet")):
        return Form(None, codec, OTHER_ARCHIVE)
    if found == "warc":
        return _archive(content, codec, named)
    if codec and (found in (*_SEEKABLE, ARCHIVES) or (named in _SEEKABLE and not found)):
        return Form(None, codec, PACKED)
    if found in (*_SEEKABLE, ARCHIVES):
        if found == ARCHIVES:
            return Form("warc") if suffix == ".wacz" else Form(None, why=ARCHIVES)
        return Form("arrow" if found == "arrow" else "parquet")
    if found == POINTERS:
        pointed = re.search(rb"\nsize (\d{1,15})\n", content)
        return Form(None, codec, POINTERS, int(pointed[1]) if pointed else 0)
    if found == "tar":
        return _tar(content, codec)
    if named in ("warc", "wet", *_SEEKABLE, "tar"):  # damaged, or not decoded so far: the reader says so
        return Form(named, codec)
    if not content.strip():
        return Form("json" if named == "jsonl" and codec else named, codec) if named else Form(None, codec, UNKNOWN)
    return _text(content, codec, named, suffix, texts, whole=size <= len(head))


def _jl(suffix: str) -> Form | None:
    """An empty file named .jl: no lines, or no Julia; either way it has nothing."""
    return Form("jsonl") if suffix == ".jl" else None


def _by_magic(content: bytes, named: Format | None) -> Format | str | None:
    """The form, or why there is none, that the first bytes tell beyond doubt; else None."""
    for magic, what in _MAGIC:
        if content.startswith(magic):
            return what
    if content[257:262] == b"ustar" and len(content) >= TAR_BLOCK:
        return "tar"
    # An Arrow stream: the mark of a message, and its length. Its bytes say little, so that the name must agree.
    return "arrow" if named == "arrow" and content.startswith(b"\xff\xff\xff\xff") else None


def _archive(content: bytes, codec: Codec, named: Format | None) -> Form:
    """WARC, WET or WAT: by the second record, since the first tells of the file; by the name where it is not seen."""
    kinds = re.findall(rb"\nwarc-type:\s*(\w+)", content, re.IGNORECASE)
    kind = next((one.lower() for one in kinds if one.lower() != b"warcinfo"), b"")
    if kind == b"metadata" and re.search(rb'"(?:Envelope|Container)"\s*:', content):
        return Form(None, codec, WAT)
    if kind:
        return Form("wet" if kind == b"conversion" else "warc", codec)
    return Form("wet" if named == "wet" else "warc", codec)


def _tar(content: bytes, codec: Codec) -> Form:
    """A tar of samples: of pages where the members that are seen are, of documents otherwise."""
    names, at = [], 0
    while at + TAR_BLOCK <= len(content) and content[at + 257 : at + 262] == b"ustar":
        if content[at + 156 : at + 157] in (b"0", b"\0"):
            names.append(content[at : at + 100].rstrip(b"\0").decode("utf-8", "replace").lower())
        digits = content[at + 124 : at + 136].strip(b"\0 ")
        if not re.fullmatch(rb"[0-7]+", digits):
            break
        at += TAR_BLOCK + -(-int(digits, 8) // TAR_BLOCK) * TAR_BLOCK
    if any(name.endswith(TAR_TEXTS) for name in names):
        return Form("tar", codec)
    if any(name.endswith(TAR_PAGES) for name in names):
        return Form("tar", codec, raw=True)
    other = [name for name in names if by_name(name)[0] not in (None, "text")]
    return Form(None, codec, OTHER_TAR) if other else Form("tar", codec)


def _text(content: bytes, codec: Codec, named: Format | None, suffix: str, texts: Texts, *, whole: bool) -> Form:
    """The form of what is text, or of no known form."""
    wide = content.startswith(_UTF16)
    if wide:
        content = content.decode("utf-16", "replace").encode("utf-8", "replace")
    content = content.removeprefix(_BOM)
    if b"\0" in content:
        return Form(named, codec) if named not in (None, "text") else Form(None, codec, BINARY)
    if suffix in _OTHER_CODECS:
        return Form(None, codec, COMPRESSED)
    if named in ("jsonl", "json") or ((named is None or suffix in (".txt", ".text")) and _begins_as_json(content)):
        return _json(content, codec, named, texts, wide=wide, whole=whole)
    if named in ("csv", "tsv"):
        return Form(named, codec)
    if suffix not in SOURCE - {".php"} or named == "html":
        if _HTML.match(content):
            return Form("html", codec)
        if named == "mhtml" or _MHTML.match(content):
            return Form("mhtml", codec)
    if named is None and re.match(rb'<doc id="[^"\n]*"', content):
        return Form("wiki", codec)
    if suffix == ".jl":
        return Form("text", codec)
    return Form(named, codec) if named else Form(None, codec, UNKNOWN)


def _json(content: bytes, codec: Codec, named: Format | None, texts: Texts, *, wide: bool, whole: bool) -> Form:
    """JSON lines, or any other layout of JSON; a whole file that is one object without a text is `loose`.

    Text in UTF-16 is not cut into lines as it is stored, so that it is of the general form.
    """
    shape = json_shape(content)
    lines = shape == "lines" or (not shape and named == "jsonl")
    lone = whole and named == "json" and (shape == "object" or (lines and content.strip().count(b"\n") == 0))
    keys = re.findall(rb'"([^"\\\n]{1,200})"\s*:', content) if lone else []
    loose = lone and not any(key.decode("utf-8", "replace") in texts for key in keys)
    return Form("jsonl" if lines and not wide else "json", codec, loose=loose)


def json_shape(content: bytes) -> Literal["lines", "array", "object", ""]:
    """How JSON text that begins with `content` is laid out; "" where it does not begin as an object or array.

    lines: an object a line; array: values inside [ ]; object: values that span lines, one after the other.
    """
    content = content.removeprefix(_BOM).lstrip()
    if content.startswith(b"["):
        return "array"
    if not content.startswith(b"{"):
        return ""
    first, end, rest = content.partition(b"\n")
    if not end:
        return "lines"
    try:
        if isinstance(json.loads(first), dict):
            return "lines"
    except (ValueError, RecursionError):
        pass
    # A damaged line of an object, as against the beginning of one that spans lines.
    return "lines" if re.match(rb'\{\s*"', first) and re.match(rb'\s*\{\s*"', rest) else "object"


def _begins_as_json(content: bytes) -> bool:
    """Whether text under a name that is not JSON's is lines or an array of objects: it begins with one that has a
    key."""
    begins = re.match(rb'\s*\[?\s*\{\s*"[^"\n]{1,200}"\s*:', content)
    return bool(begins) and json_shape(content) != "object"
