"""Record the demo's crawl: real pages over real HTTP, from documentation that came with the user's tools.

The HTML books that come with the user's Rust toolchain are served on loopback by the standard library's file
server, and Python documents itself with `python -m pydoc`. `curate.fetch` records about 1,200 pages of both,
60 % of them on Rust, as rust-*.warc.gz and python-*.warc.gz (50 MB of pages in 10 MB of files) within half a
minute. If the toolchain has no books, all pages are Python's, which are about 750.

    python pipelines/demo_crawl.py --out demo/crawl [--pages 1200]

summary.json, written last, records what was done; as long as it fits the settings, the crawl is not made again.
"""

import argparse
import contextlib
import functools
import http.server
import json
import os
import platform
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate import console
from curate.errors import CurateError
from curate.fetch.crawl import FetchSummary, fetch
from curate.fetch.settings import FetchSettings

VERSION = 1  # of this program: to be raised when the same settings would record other pages
RUST_SHARE = 0.6  # of all pages
RUST_PORT, PYTHON_PORT = 8410, 8411  # used if free, so that every crawl has the same URLs
START_SECONDS = 20.0  # that the documentation server may take to answer
CHILD_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # variables that Python may need

RUST_BOOKS = ("book", "reference", "rust-by-example", "cargo", "std")
RUST_LANGUAGES = ("es", "ja")  # translations of one book, for language identification to find
RUST_EXCLUDE = (
    r"/print\.html",  # a whole book on one page
    r"/std/(arch|intrinsics|simd)/",  # thousands of pages of a line each
    r"/std/primitive\.([iu](8|16|128|size)|f(16|128))\.html",  # 1.2 MB each and like the four that stay
    r"/rust-by-example/(ko|zh)/",
    r"/rust-by-example/(es|ja)/[^/]+/",  # their main chapters are enough
)
PYTHON_EXCLUDE = (
    r"/(test|idlelib|lib2to3|distutils|turtledemo|lib-tk)\b",  # no documentation, or none that is current
    r"\.tests?\b",
    r"__main__",  # pydoc imports what it documents, and this would run it
    r"/(antigravity|__hello__|__phello__|this)\b",  # as would these: a browser, greetings and a poem
    r"/(_test|_xx|xx|_sysconfigdata|_ctypes_test)",  # the interpreter's own tests and build settings
    r"\.css$",
)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Record the pages that `make demo` works on.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the WARC files and summary.json")
    parser.add_argument("--pages", type=int, default=1200, help="URLs to request in all (default 1200)")
    arguments = parser.parse_args()
    if arguments.pages < 10:
        parser.error(f"--pages {arguments.pages}: must be at least 10, or there is nothing to work on")
    try:
        crawl(arguments.out, arguments.pages)
    except CurateError as error:
        console.err(f"demo_crawl: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def crawl(out: Path, pages: int) -> dict[str, Any]:
    """Record both sites into `out`, unless that has been done; returns the content of summary.json either way.

    `pages` is the number of URLs to request in all.
    """
    rust_docs, rust_version = find_rust_docs()
    settings = {"version": VERSION, "pages": pages, "python": platform.python_version(), "rust": rust_version}
    stdlib = sysconfig.get_paths()["stdlib"]
    summary = finished(out, settings)
    if summary is not None:
        print(f"{summary['pages']} pages are in {out} already")
    else:
        clear(out)
        began = time.monotonic()
        rust_pages = round(pages * RUST_SHARE) if rust_docs else 0
        sources = {"rust_docs": describe(record_rust(rust_docs, out, rust_pages))} if rust_docs else {}
        sources["python_docs"] = describe(record_python(out, pages - rust_pages))
        skipped = [] if rust_docs else ["rust_docs: the Rust toolchain has no HTML documentation"]
        summary = {
            "settings": settings,
            "pages": sum(source["pages"] for source in sources.values()),
            "bytes": sum(source["bytes"] for source in sources.values()),
            "seconds": round(time.monotonic() - began, 1),
            "skipped": skipped,
            "sources": sources,
            "python_stdlib": stdlib,
        }
        write_json(out / "summary.json", summary)
        print(f"{summary['pages']} pages, {summary['bytes']:,} bytes in {summary['seconds']} s, in {out}")
    for line in summary["skipped"]:
        print(f"skipped: {line}")
    print(f"Python's standard library: {stdlib}")
    return summary


def finished(out: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The summary of an earlier crawl with these settings whose files are all there as they were."""
    try:
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        same = summary["settings"] == settings
        files = [item for source in summary["sources"].values() for item in source["files"].items()]
        whole = all((out / name).stat().st_size == size for name, size in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return summary if same and whole else None


def clear(out: Path) -> None:
    """Remove the files of an earlier crawl, and nothing else."""
    (out / "summary.json").unlink(missing_ok=True)
    for pattern in ("rust-*.warc.gz", "rust-*.warc.gz.part", "python-*.warc.gz", "python-*.warc.gz.part"):
        for path in out.glob(pattern):
            path.unlink()


def describe(summary: FetchSummary) -> dict[str, Any]:
    """What the summary says of one site: its files with their sizes, counts, seconds and errors."""
    return {
        "files": {path.name: path.stat().st_size for path in summary.files},
        "tried": summary.tried,
        "pages": summary.pages,
        "redirects": summary.redirects,
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 1),
        "errors": summary.errors,
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write the file under another name first, so that an interrupted crawl leaves no summary."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def find_rust_docs() -> tuple[Path | None, str | None]:
    """Where the toolchain keeps its HTML books, and its version; two Nones where it has none."""
    try:
        ask = functools.partial(subprocess.run, capture_output=True, text=True, check=True, timeout=60)
        sysroot = ask(["rustc", "--print", "sysroot"]).stdout.strip()
        version = ask(["rustc", "--version"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None, None
    docs = Path(sysroot) / "share/doc/rust/html"
    return (docs, version) if (docs / "book/index.html").is_file() else (None, None)


def record_rust(docs: Path, out: Path, pages: int) -> FetchSummary:
    """Fetch up to `pages` pages of the books below `docs`."""
    with serve_folder(docs) as root:
        seeds = [f"{root}{book}/index.html" for book in RUST_BOOKS]
        seeds += [f"{root}rust-by-example/{language}/index.html" for language in RUST_LANGUAGES]
        seeds.append(f"{root}reference")  # without its slash, for which the server redirects
        scope = tuple(f"{root}{book}/" for book in RUST_BOOKS)
        settings = FetchSettings(
            scope=scope, exclude=RUST_EXCLUDE, max_pages=pages, prefix="rust", retries=1, allow_private=True
        )
        return fetch(settings, seeds, out)


def record_python(out: Path, pages: int) -> FetchSummary:
    """Fetch up to `pages` pages of Python's documentation server."""
    with serve_pydoc() as root:
        # The server makes one page at a time, and a few take seconds: hence few requests at once, and a long timeout.
        settings = FetchSettings(
            exclude=PYTHON_EXCLUDE,
            max_pages=pages,
            prefix="python",
            retries=1,
            concurrency=2,
            timeout=20,
            allow_private=True,
        )
        return fetch(settings, [root], out)


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """The standard library's file server, redirects for folders included, without its log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address at which `folder` is served on loopback for as long as the context lasts."""
    handler = functools.partial(QuietFiles, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port(RUST_PORT)), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serve_pydoc() -> Iterator[str]:
    """The address of Python's documentation server, run as a child of its own in an empty folder.

    Isolated and without site-packages it shows the standard library and nothing else; its page on `os` shows
    the environment, which must not get into a crawl. It ends when its standard input does, and so also when
    this process is killed.
    """
    port = free_port(PYTHON_PORT)
    command = [sys.executable, "-I", "-S", "-m", "pydoc", "-n", "127.0.0.1", "-p", str(port)]
    bare = {name: os.environ[name] for name in CHILD_ENVIRONMENT if name in os.environ}
    quiet = subprocess.DEVNULL
    with tempfile.TemporaryDirectory() as empty:
        child = subprocess.Popen(command, cwd=empty, env=bare, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
        try:
            wait_until_open(port, child)
            yield f"http://127.0.0.1:{port}/"
        finally:
            child.kill()
            child.communicate()


def wait_until_open(port: int, child: subprocess.Popen[bytes]) -> None:
    """Return when the port accepts connections; CurateError if the child ends first, or after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    how = f"is silent after {START_SECONDS:g} s" if child.poll() is None else f"ended with code {child.poll()}"
    by_hand = f"{sys.executable} -m pydoc -p {port}"
    raise CurateError(f"Python's documentation server on port {port} {how}; try it by hand: {by_hand}")


def free_port(wanted: int) -> int:
    """`wanted`, or any other port of loopback if that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise CurateError("no port of 127.0.0.1 can be used, so nothing can be served; is loopback up?")


if __name__ == "__main__":
    sys.exit(main())
