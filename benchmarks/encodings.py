"""How many of the files of ../shared/data/enc are decoded exactly: ours, charset-normalizer, resiliparse.

The files are chardet's test data: a folder a charset, and every file of a folder is valid in the folder's charset, so
decoding it strictly with Python's codec of that name is the truth. A text is exact when it equals that, character by
character, a byte order mark at the start and NUL characters aside; line ends count. Where the web reads a label as a
superset (GB2312 as GB18030, ISO-8859-1 as windows-1252 …), the superset's text is exact as well; and the six signs for
which Python's tables of JIS X 0208 and those of the web differ (WAVE DASH and FULLWIDTH TILDE …) are the same sign.

Three ways: as the files are (182 of 241 say themselves what they are, some of them wrongly), with what they say made
unreadable, so that only the bytes can tell, and with the folder's charset declared by the server, under the name
that the web has for it. The peers take no declared charset.
"""

import codecs
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import pyarrow as pa
import zstandard

from benchmarks.harness import Report
from benchmarks.texts import SHARED
from curate import kernels

ARCHIVE = SHARED / "enc" / "charsets.tar.zst"

_ON_THE_WEB = {"MacCyrillic": "x-mac-cyrillic", "MacRoman": "macintosh", "CP932": "shift_jis", "CP949": "euc-kr"}
_CODECS = {"Johab": "johab", "MacCyrillic": "mac_cyrillic", "MacRoman": "mac_roman"}
_SUPERSETS = {
    "big5": ("cp950", "big5hkscs"), "shift_jis": ("cp932",), "euc_kr": ("cp949",), "gb2312": ("gbk", "gb18030"),
    "iso8859-1": ("cp1252",), "iso8859-9": ("cp1254",), "tis-620": ("cp874",), "ascii": ("utf-8",),
}  # fmt: skip
_SAME_SIGNS = str.maketrans("〜‖−¢£¬", "～∥－￠￡￢")
_JAPANESE = frozenset(("shift_jis", "cp932", "euc_jp"))
_DECLARED = re.compile(rb"((?:encoding|charset)=[\"']?|Expect: )([\w:.-]+)")


class File(NamedTuple):
    """A file's bytes, and the charset that its folder names, as Python calls it."""

    label: str
    codec: str
    data: bytes


@cache
def files() -> tuple[File, ...]:
    """The 241 files of chardet's test data; the archive's other files are text that was decoded wrongly long ago."""
    if not ARCHIVE.exists():
        raise SystemExit(f"the real data that this benchmark reads is absent: {ARCHIVE}")
    return tuple(_read())


def _read() -> Iterator[File]:
    with (
        ARCHIVE.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.name.startswith("enc_chardet/") else None
            if content is not None:
                label, codec = _charset(member.name.split("/")[1])
                yield File(label, codec, content.read())


def _charset(folder: str) -> tuple[str, str]:
    """(label, Python's codec) of a folder named after a charset, some with a language: `iso-8859-2-polish`."""
    name = folder
    while True:
        try:
            return name, codecs.lookup(_CODECS.get(name, name)).name
        except LookupError:
            name, dash, _ = name.rpartition("-")
            if not dash:
                raise


def exact(text: str, file: File) -> bool:
    """Whether the text is what the file's charset, or the web's superset of it, says."""
    for codec in (file.codec, *_SUPERSETS.get(file.codec, ())):
        truth = file.data.decode(codec, "replace" if codec != file.codec else "strict")
        if file.codec in _JAPANESE:
            text, truth = text.translate(_SAME_SIGNS), truth.translate(_SAME_SIGNS)
        if "\0" in truth:
            text, truth = text.replace("\0", ""), truth.replace("\0", "")
        if text.removeprefix("\ufeff") == truth.removeprefix("\ufeff"):
            return True
    return False


def _ours(data: bytes, declared: str | None = None) -> str:
    found = kernels.decode_html(pa.array([data], pa.large_binary()), pa.array([declared or ""], pa.string()))
    return str(found.field("text")[0].as_py())


def _charset_normalizer(data: bytes) -> str:
    from charset_normalizer import from_bytes

    return str(from_bytes(data).best() or "")


def _resiliparse(data: bytes) -> str:
    """With `html5_compatible=False`, which finds 37 files more than its default."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    return str(bytes_to_str(data, detect_encoding(data, from_html_meta=True, html5_compatible=False) or "utf-8"))


def encodings(report: Report) -> None:
    """Share of files decoded exactly, and which are not."""
    as_they_are = files()
    silent = tuple(file._replace(data=_DECLARED.sub(_unreadable, file.data)) for file in as_they_are)
    peers: dict[str, Callable[[bytes], str]] = {"charset-normalizer": _charset_normalizer, "resiliparse": _resiliparse}
    lines = []
    for name, given in [("as_they_are", as_they_are), ("undeclared", silent)]:
        ours = _share(lines, name, "ours", given, lambda file: _ours(file.data))
        for peer, decode in peers.items():
            theirs = _share(lines, name, peer, given, lambda file, decode=decode: decode(file.data))
            report.row(f"decoded_exactly_{name}", ours, "share", 1, peer, theirs, f"{len(given)} files")
    declared = _share(
        lines, "declared", "ours", silent, lambda file: _ours(file.data, _ON_THE_WEB.get(file.label, file.label))
    )
    report.row("decoded_exactly_declared", declared, "share", 1, note="the server declares the folder's charset")
    report.table("Decoding", ["files", "decoder", "exact", "folders with files that are not exact"], lines)


def _unreadable(match: re.Match[bytes]) -> bytes:
    return match[1] + b"?" * len(match[2])


def _share(
    lines: list[list[str]], name: str, who: str, given: tuple[File, ...], decode: Callable[[File], str]
) -> float:
    """The share of files that `decode` gets exactly; adds a line that names the others' charsets."""
    wrong: dict[str, int] = {}
    for file in given:
        if not exact(decode(file), file):
            wrong[file.label] = wrong.get(file.label, 0) + 1
    good = len(given) - sum(wrong.values())
    where = ", ".join(f"{label} {count}" for label, count in sorted(wrong.items()))
    lines.append([name.replace("_", " "), who, f"{good} of {len(given)}", where])
    return good / len(given)
