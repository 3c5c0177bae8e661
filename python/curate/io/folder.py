"""What a folder holds: which of its files are documents, and what is passed over and why.

A file is known by its content and name (forms.py) and by the company it keeps. Beside data, a README is a data card
and a script is a loader; alone, both are text. So a folder has a nature: *data* where it holds any file that can be
nothing else (Parquet, WARC, JSON lines, anything compressed), else that of *data* (.json, .csv), *pages* (.html) and
*text* (source code, prose) which has most bytes. Files of another nature are passed over.

Whatever is passed over is counted and named. Where more bytes are passed over than read, and not only such as are no
documents by convention, the folder is not what it was taken for: then nothing runs until the user says what is meant.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from curate.errors import ConfigError
from curate.io import forms
from curate.io.forms import SOURCE, Form, Format

NAMED = 3  # files that are named of each kind that is passed over

Nature = Literal["data", "pages", "text"]

HIDDEN = "hidden"
EXCLUDED = "left out by `exclude`"
BOOKS = "the notes of a program that wrote the folder (_SUCCESS, _temporary, dataset_info.json)"
CARDS = "data cards and licences"
CHECKSUMS = "checksums, indexes and signatures"
COMPANIONS = "attributes of documents, or a cache of files that are read by other names"
LOOSE = "JSON objects beside data, without a text"
PARTS = "parts of saved pages: images, styles, scripts"
SPECIAL = "pipes, sockets or devices"
OTHER_FORM = "of another form than `format` says"
BESIDE: dict[Nature, dict[Nature, str]] = {
    "data": {"text": "text and source files beside data", "pages": "saved pages beside data"},
    "pages": {"data": "tables and JSON beside saved pages", "text": "text and source files beside saved pages"},
    "text": {"data": "tables and JSON beside text and source files",
             "pages": "saved pages beside text and source files"},
}  # fmt: skip
# No documents by convention, whatever their size.
EXPECTED = frozenset((HIDDEN, EXCLUDED, BOOKS, CARDS, CHECKSUMS, COMPANIONS, LOOSE, PARTS, OTHER_FORM, forms.WAT))

_PAGES: tuple[Format, ...] = ("html", "mhtml")
_CARD = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|authors|contributors|contributing|changelog|citation|code_of_conduct|security"
    r"|datasheet|data_?card|dataset_?card|requirements)\b[^/]*",
    re.IGNORECASE,
)
_CARD_SUFFIXES = ("", ".md", ".txt", ".rst", ".html", ".cff", ".bib", ".pdf")
_CHECKSUM = re.compile(
    r".*\.(?:md5|sha1|sha224|sha256|sha384|sha512|crc|crc32|sig|asc|cdx|cdxj)(?:\.gz)?|(?:md5|sha\d+)sums?(?:\.txt)?"
    r"|checksums?(?:\.\w+)?",
    re.IGNORECASE,
)
_BOOKS = re.compile(
    r"_(?:SUCCESS|temporary|metadata|common_metadata|delta_log|spark_metadata|committed_.*|started_.*|INDEX)"
    r"|dataset_infos?\.json|dataset_dict\.json|cache-[0-9a-f]{8,}.*\.arrow"
)
_PART = re.compile(r".*\.(?:png|jpe?g|gif|webp|avif|svg|ico|bmp|css|js|mjs|map|woff2?|ttf|otf|eot|mp[34]|webm|ogg)"
                   r"(?:\?.*)?", re.IGNORECASE)  # fmt: skip
# Folder -> folders beside it that hold none of their own: what others measured of the documents (Dolma, RedPajama),
# and the files that a hub's cache has under their own names in snapshots/.
_COMPANIONS = {
    "documents": ("attributes", "quality_signals", "minhash", "duplicates", "duplicate_ids"),
    "snapshots": ("blobs", "refs"),
}


class Candidate(NamedTuple):
    """A file as it was found."""

    name: str  # as the file system has it
    rel: str  # the name that its documents are identified by
    size: int
    stamp: str
    form: Form
    special: str = ""  # what it is, where it is neither a file nor a link to one


class Passed(NamedTuple):
    """Files of an input that are not read, for one reason."""

    input: str  # the path as it was given
    why: str
    files: int
    bytes: int
    names: tuple[str, ...]  # the first NAMED of them

    def __str__(self) -> str:
        """As a warning."""
        return listed(self.input, f"not read, {self.why}", self.names, self.files)


def listed(given: str, what: str, names: Sequence[str], total: int = 0) -> str:
    """`crawl: the WARCs in it are read: a.wacz, b.wacz, c.wacz and 7 more`; `total` names in all."""
    total = total or len(names)
    more = f" and {total - NAMED:,} more" if total > NAMED else ""
    return f"{given}: {what}: {', '.join(names[:NAMED])}{more}"


def choose(
    given: str, found: Sequence[Candidate], wanted: str, excluded: set[str], *, alone: bool
) -> tuple[list[Candidate], list[Passed]]:
    """The files of an input that are read, in order, and what is passed over.

    `wanted` is the setting `format`, `excluded` the names of files that `exclude` leaves out; `alone`: the input is one
    file that was given by name, whose company says nothing.
    """
    left: dict[str, list[Candidate]] = {}
    kept = []
    companions = _companions(found)
    for one in found:
        why = _apart(one, excluded, companions, alone=alone)
        if why:
            left.setdefault(why, []).append(one)
        else:
            kept.append(one)
    if wanted != "auto":
        left[forms.POINTERS] = [one for one in kept if one.form.why == forms.POINTERS]
        kept, others = _of_form([one for one in kept if one.form.why != forms.POINTERS], wanted)
        left.setdefault(OTHER_FORM, []).extend(others)
    else:
        kept = _known(kept, left)
        if not alone and kept:
            kept = _by_nature(kept, left)
    return kept, [passed(given, why, files) for why, files in sorted(left.items()) if files]


def passed(given: str, why: str, files: Sequence[Candidate]) -> Passed:
    """Files that are passed over for one reason, summed up."""
    names = tuple(one.rel for one in files[:NAMED])
    return Passed(given, why, len(files), sum(one.form.size or one.size for one in files), names)


def check(given: str, read: int, left: Iterable[Passed]) -> None:
    """ConfigError where more bytes of an input are passed over than `read`, such as are no documents by convention
    aside."""
    unexpected = sorted((one for one in left if one.why not in EXPECTED), key=lambda one: -one.bytes)
    lost = sum(one.bytes for one in unexpected)
    if lost > read:
        told = "; ".join(str(one).partition(": not read, ")[2] for one in unexpected[:3])
        raise ConfigError(
            f"input {given}: most of it would not be read ({lost:,} bytes, and {read:,} would): {told}; say what is "
            "meant: `format` names the form to read, `exclude` the files to leave out (`curate inputs` shows all)"
        )


def _apart(one: Candidate, excluded: set[str], companions: set[str], *, alone: bool) -> str:
    """Why a file is no document whatever the other files are; "" where it may be one."""
    parts = one.rel.split("/")
    base = parts[-1]
    if one.name in excluded:
        return EXCLUDED
    if one.special:
        return SPECIAL
    if alone:
        return ""
    if any(part.startswith(".") for part in parts):
        return HIDDEN
    data = nature_of(one) == "data"
    if any(_BOOKS.fullmatch(part) or (part.startswith("_") and data) for part in parts):
        return BOOKS
    if _CHECKSUM.fullmatch(base):
        return CHECKSUMS
    return COMPANIONS if companions and any(one.rel.startswith(place) for place in companions) else ""


def _companions(found: Iterable[Candidate]) -> set[str]:
    """Beginnings of names, `v1/attributes/`, of folders that hold no documents beside those that do."""
    beside = set()
    for one in found:
        folders = one.rel.split("/")[:-1]
        for place in [i for i, name in enumerate(folders) if name in _COMPANIONS]:
            above = "".join(f"{name}/" for name in folders[:place])
            beside |= {f"{above}{name}/" for name in _COMPANIONS[folders[place]]}
    return beside


def _of_form(kept: list[Candidate], wanted: str) -> tuple[list[Candidate], list[Candidate]]:
    """(files read as the form that the setting names, others).

    Files that have it; where none has, those of no known form; where there are none of these, all.
    """
    family = forms.FAMILIES[wanted]
    having = [one for one in kept if one.form.format in family]
    chosen = having or [one for one in kept if one.form.format is None] or kept
    mine = {id(one) for one in chosen}
    others = [one for one in kept if id(one) not in mine]
    return [one if one in having else one._replace(form=_as(one.form, family)) for one in chosen], others


def _as(form: Form, family: Sequence[Format]) -> Form:
    """A form that the user names, for a file that shows none of its kind."""
    # Without a name, lines or an array: its reader tells.
    return Form("json" if "json" in family else family[0], form.codec)


def _known(kept: list[Candidate], left: dict[str, list[Candidate]]) -> list[Candidate]:
    """The files of a known form; the others join `left`."""
    known = []
    for one in kept:
        if one.form.format is None:
            left.setdefault(one.form.why, []).append(one)
        else:
            known.append(one)
    return known


def nature_of(one: Candidate) -> Nature | None:
    """What a file of its form is by itself."""
    if one.form.format is None:
        return None
    return "pages" if one.form.format in _PAGES else "text" if one.form.format == "text" else "data"


def nature(kept: Collection[Candidate]) -> Nature:
    """What a folder holds, by the files of a known form; see the head of this module."""
    sizes: dict[Nature, int] = {"data": 0, "pages": 0, "text": 0}
    seen: set[Nature] = set()
    for one in kept:
        form, found = one.form, nature_of(one)
        if found is None or form.loose:
            continue
        if found == "data" and (form.codec or form.format not in ("json", "csv", "tsv")):
            return "data"
        if found == "text" and _PART.fullmatch(one.rel):
            continue  # a script or style may be of a page or of a program: it says nothing
        seen.add(found)
        sizes[found] += one.size
    order: tuple[Nature, ...] = ("data", "pages", "text")
    lone: Nature = "data" if any(one.form.loose for one in kept) else "text"
    return max((one for one in order if one in seen), key=lambda one: sizes[one], default=lone)


def _by_nature(kept: list[Candidate], left: dict[str, list[Candidate]]) -> list[Candidate]:
    """The files that agree with the folder's nature; the others join `left`."""
    whole = nature(kept)
    chosen = []
    lone = all(one.form.loose or nature_of(one) != "data" for one in kept)
    for one in kept:
        mine = nature_of(one)
        suffix = forms.by_name(one.rel)[2]
        if whole == "text" and mine == "pages" and suffix in SOURCE:
            one = one._replace(form=Form("text", one.form.codec))  # a template of a program
            mine = "text"
        why = ""
        if whole != "text" and mine != whole and _is_card(one.rel, suffix):
            why = CARDS
        elif whole == "pages" and _PART.fullmatch(one.rel):
            why = PARTS
        elif one.form.loose and not (whole == "data" and lone):
            why = LOOSE
        elif mine != whole and mine is not None and not (whole == "data" and suffix in (".txt", ".text")):
            why = BESIDE[whole][mine]
        if why:
            left.setdefault(why, []).append(one)
        else:
            chosen.append(one)
    _sort_left(left, whole, chosen)
    return chosen


def _sort_left(left: dict[str, list[Candidate]], whole: Nature, chosen: list[Candidate]) -> None:
    """What is of no known form by itself, and is no document by the company it keeps: cards, parts of pages."""
    for why in (forms.UNKNOWN, forms.BINARY, forms.ARCHIVES):
        for one in left.pop(why, []):
            suffix = forms.by_name(one.rel)[2]
            reason = why
            if whole != "text" and _is_card(one.rel, suffix):
                reason = CARDS
            elif whole == "pages" and _PART.fullmatch(one.rel):
                reason = PARTS
            left.setdefault(reason, []).append(one)


def _is_card(rel: str, suffix: str) -> bool:
    """Whether a name is that of a data card or a licence."""
    base = rel.rpartition("/")[2]
    return suffix in _CARD_SUFFIXES and _CARD.fullmatch(base) is not None
