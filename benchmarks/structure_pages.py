"""Pages whose own elements say their structure: documentation of many generators, and wikis and questions of a crawl.

A generator's pages come from the Rust toolchain, from documentation packages of Debian, which are downloaded with
apt-get where they are absent and unpacked below target/structure, or from ../shared/data/crawl. Of each the first
PAGES by the hash of their names are taken that have enough elements. The generators are split in two halves by the
hash of their names: one to work on, one that is only measured.
"""

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lxml import etree, html

from benchmarks.texts import SHARED
from curate.extract import extractors

ROOT = Path(__file__).resolve().parents[1] / "target" / "structure"
PAGES = 8
ENOUGH = 12  # elements of structure that a page must have
BYTES = (4_000, 400_000)


@dataclass(frozen=True)
class Generator:
    """A program that writes documentation; `where` is a Debian package, rust or crawl, `files` a pattern of file names
    (of URLs for a crawl), `main` the XPath of a page's main part."""

    name: str
    where: str
    files: str
    main: str


GENERATORS = (
    Generator("mdbook", "rust", "{book,reference,cargo,edition-guide,rustc}/**/*.html", "//main"),
    Generator("rustdoc", "rust", "{std,core,alloc}/**/*.html", "//section[@id='main-content']"),
    Generator("sphinx", "python3.11-doc", "**/*.html", "//div[@class='body']"),
    Generator("sphinx-cmake", "cmake-doc", "**/*.html", "//div[@class='body']"),
    Generator("sphinx-math", "python-mpmath-doc", "**/*.html", "//div[@class='body']"),
    Generator("docbook-publican", "debian-handbook", "**/en-US/*.html", "//body"),
    Generator("docbook-postgresql", "postgresql-doc-15", "**/*.html", "//body"),
    Generator("doxygen", "libeigen3-doc", "**/*.html", "//div[@class='contents']"),
    Generator("texinfo-octave", "octave-doc", "**/*.html", "//body"),
    Generator("texinfo-autoconf", "autoconf-doc", "**/*.html", "//body"),
    Generator("asciidoc", "git-doc", "**/*.html", "//div[@id='content']"),
    Generator("gtk-doc", "libglib2.0-doc", "**/*.html", "//body"),
    Generator("haddock", "libghc-aeson-doc", "**/Data-*.html", "//div[@id='content']"),
    Generator("javadoc", "libcommons-lang3-java-doc", "**/*.html", "//main"),
    Generator("sqlite", "sqlite3-doc", "**/*.html", "//body"),
    Generator("apache", "apache2-doc", "**/en/**/*.html", "//div[@id='page-content']"),
    Generator("tcl", "tcl8.6-doc", "**/*.html", "//body"),
    Generator("mediawiki", "crawl", "wiki", "//div[@id='mw-content-text']"),
    Generator("questions", "crawl", "question", "//*[contains(@class,'s-prose') or contains(@class,'post-text')]"),
)

GONE = (
    "script|style|nav|template|noscript|*[contains(@class,'navheader') or contains(@class,'navfooter')"
    " or contains(@class,'docnav') or contains(@class,'mw-editsection') or contains(@class,'navbox')"
    " or contains(@class,'toc') or contains(@class,'ttc') or contains(@class,'nav-panel')"
    " or contains(@class,'navigation') or @id='table-of-contents' or @id='synopsis' or @id='quickview']"
)
"""Elements of a main part that are no content of it, as an XPath union of names."""


@dataclass(frozen=True)
class Document:
    """A page: its generator, its name, its text, and its main part with the elements of GONE taken out."""

    generator: str
    name: str
    html: str
    main: etree._Element


def half(generator: str) -> str:
    """`work` or `measured`."""
    return "work" if hashlib.sha256(generator.encode()).digest()[0] & 1 else "measured"


@cache
def documents(which: str) -> tuple[Document, ...]:
    """The pages of one half, or of `all`; a generator without pages here is told on stderr by the caller's count."""
    chosen = [g for g in GENERATORS if which in ("all", half(g.name))]
    return tuple(document for generator in chosen for document in pages_of(generator))


def pages_of(generator: Generator, most: int = PAGES, longest: int = BYTES[1]) -> list[Document]:
    """The first `most` pages of a generator of at most `longest` characters."""
    found: list[Document] = []
    pages = _crawled(generator) if generator.where == "crawl" else _files(generator)
    for name, text in pages:
        if len(text) > longest:
            continue
        document = _document(generator, name, text)
        if document is not None:
            found.append(document)
            if len(found) == most:
                break
    return found


def _files(generator: Generator) -> Iterator[tuple[str, str]]:
    """(name, text) of a generator's files in the order of the hashes of their names."""
    folder = _rust() if generator.where == "rust" else _package(generator.where)
    start, _, rest = generator.files.partition("}")
    patterns = [f"{part}{rest}" for part in start[1:].split(",")] if rest else [generator.files]
    names = {path for pattern in patterns for path in folder.glob(pattern)}
    for path in sorted(names, key=lambda path: _order(str(path.relative_to(folder)))):
        if path.is_file() and not path.is_symlink() and BYTES[0] <= path.stat().st_size <= BYTES[1]:
            yield str(path.relative_to(folder)), extractors.decode(path.read_bytes(), None)


def _crawled(generator: Generator) -> Iterator[tuple[str, str]]:
    from models.extractor.truth import pages

    if not (SHARED / "crawl").is_dir():
        return
    found = [page for page in pages(SHARED / "crawl") if BYTES[0] <= len(page.html) <= BYTES[1]]
    for page in sorted(found, key=lambda page: _order(page.url)):
        if generator.files in page.url or generator.name == "mediawiki":
            yield page.url, extractors.decode(page.html, page.charset)


def _order(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _document(generator: Generator, name: str, text: str) -> Document | None:
    """The page, unless it lacks the main part or has few elements of structure."""
    try:
        tree = html.fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8", huge_tree=True))
    except (etree.ParserError, ValueError):
        return None
    parts = tree.xpath(generator.main)
    if not parts:
        return None
    main = parts[0]
    if len(parts) > 1:
        main = html.Element("div")
        main.extend(parts)
    for name_of in GONE.split("|"):
        for element in main.xpath(f".//{name_of}"):
            if element.getparent() is not None:
                element.drop_tree()
    count = len(main.xpath(".//pre|.//tr|.//li|.//h2|.//h3|.//math"))
    return Document(generator.name, name, text, main) if count >= ENOUGH else None


def _rust() -> Path:
    root = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(root) / "share/doc/rust/html"


def _package(name: str) -> Path:
    """The folder of a package's files: downloaded and unpacked the first time."""
    folder = ROOT / name
    if not folder.is_dir():
        ROOT.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(["apt-get", "download", "-q", name], cwd=ROOT, stdout=subprocess.DEVNULL)
        if fetched.returncode:
            raise SystemExit(f"apt-get download {name} failed: run apt-get update as root, then this again")
        archive = next(ROOT.glob(f"{name}_*.deb"))
        part = ROOT / f"{name}.part"
        subprocess.run(["dpkg-deb", "-x", archive, part], check=True)
        archive.unlink()
        part.rename(folder)
    return folder
