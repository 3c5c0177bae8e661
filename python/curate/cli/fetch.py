"""`curate fetch`: web pages, or a part of Common Crawl. Its options are made from the settings of both ways."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import console
from curate.cli.options import CONTEXT, TAKE_OVER, flag_of, given, print_json, setting_option, with_options
from curate.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from curate.fetch.summary import FetchSummary

SUMMARY = "Record web pages as WARC files, or take those of Common Crawl."
HELP = f"""{SUMMARY}

Pages at URLs and below them, or those of a list, are asked for politely: robots.txt, one request at a time to a host
with a pause. Requests, responses and redirects are recorded as they travelled:

\b
    curate fetch https://example.org/docs/ --out docs
    curate fetch --list urls.txt --out pages

Of Common Crawl, whole files are taken, or the records that its index has for URLs:

\b
    curate fetch --common-crawl CC-MAIN-2026-05 --kind wet --files 3 --out cc
    curate fetch --common-crawl CC-MAIN-2026-05 --url 'example.org/*' --out cc

Whatever stopped it, the same command continues and fetches nothing twice."""
SHOWN = 10  # errors that are printed; --json has all

Fields = Mapping[str, "FieldInfo"]


class _Fetch(click.Command):
    """The command, with the options of each way under a heading of their own."""

    sections: Mapping[str, Sequence[str]] = {}  # heading -> names of options; all others stand under "Options"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, heading by heading."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        rows = {option.name: row for option in options if (row := option.get_help_record(ctx)) is not None}
        sections = {name: [rows.pop(key) for key in keys] for name, keys in self.sections.items()}
        for name, lines in {"Options": list(rows.values()), **sections}.items():
            with formatter.section(name):
                formatter.write_dl(lines)


def fetch_command() -> click.Command:
    """The command. The settings are imported here, since their fields become the options."""
    pages, crawl = _settings()
    web = [key for key in pages if key not in crawl]
    archive = [key for key in crawl if key not in pages]
    added = with_options(
        click.argument("urls", nargs=-1, metavar="[URL...]"),
        click.option("--out", required=True, metavar="DIR", type=console.Place(made=True, local=True),
                     help="Folder for the files."),
        *(_shared_option(key, pages[key], crawl[key]) for key in pages if key in crawl),
        TAKE_OVER,
        click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
        click.option("--list", "listed", metavar="FILE", type=console.Place(local=True),
                     help="Record the URLs in this file, one a line, and follow no links."),
        *(setting_option(key, pages[key]) for key in web),
        *(setting_option(key, crawl[key]) for key in archive),
    )  # fmt: skip
    made = click.command("fetch", cls=_Fetch, context_settings=CONTEXT, help=HELP)(added(run))
    made.sections = {"Options for web pages": ["listed", *web], "Options for Common Crawl": archive}
    return made


def _settings() -> tuple[Fields, Fields]:
    """The settings of the two ways."""
    from curate.fetch.settings import CommonCrawlSettings, FetchSettings

    return FetchSettings.model_fields, CommonCrawlSettings.model_fields


def _shared_option(key: str, page: "FieldInfo", crawl: "FieldInfo") -> Any:
    """The option of a setting that both ways have; the help names both defaults where they differ."""
    if page.default != crawl.default:
        page = copy.copy(page)
        page.description = f"{page.description}; for Common Crawl {crawl.default} by default"
    return setting_option(key, page)


def run(urls: Sequence[str], out: Path, listed: Path | None, as_json: bool, take_over: bool, **options: Any) -> int:
    """Fetch, showing on a terminal how far it is, and print a summary. `options` are those made from the settings.

    Exit code 1 where a part of Common Crawl is missing; pages that fail are usual, and warnings.
    """
    from curate.io.lock import FolderLock

    pages, crawl = _settings()
    archived = options["common_crawl"] is not None
    ours, other = (crawl, pages) if archived else (pages, crawl)
    for key in given(options, other):
        if key not in ours:
            raise ConfigError(f"{flag_of(key)}: has a meaning only {'without' if archived else 'with'} --common-crawl")
    if archived and (urls or listed):
        raise ConfigError("--common-crawl: asks no web pages; look URLs up in it with --url, as --url 'example.org/*'")
    with FolderLock(out, "curate fetch", take_over) as lock:
        for warning in lock.warnings:
            console.err(f"warning: {warning}")
        try:
            summary = _archived(out, options) if archived else _asked(urls, listed, out, options)
        finally:
            console.passing("")  # removes the line of progress
    _report(summary, "record" if options["url"] else "file" if archived else "page", as_json)
    return 1 if archived and summary.errors else 0


def _asked(urls: Sequence[str], listed: Path | None, out: Path, options: Mapping[str, Any]) -> "FetchSummary":
    """Record pages of the web."""
    from curate.config import validate
    from curate.fetch.crawl import fetch
    from curate.fetch.http import MAX_REDIRECTS
    from curate.fetch.settings import FetchSettings

    values = given(options, FetchSettings.model_fields)
    if listed is not None:
        if urls:
            raise ConfigError("--list: stands in place of URLs; write all of them into the file")
        urls = _lines(listed)
        values = {"follow": False, "max_pages": max(1, len(urls) * (1 + MAX_REDIRECTS)), **values}
    if not urls:
        raise ConfigError("nothing to fetch; give a URL, --list FILE, or --common-crawl NAME")
    return fetch(validate(FetchSettings, values, name="fetch"), urls, out, _progress)


def _lines(path: Path) -> list[str]:
    """The URLs in a file, one a line; empty lines and those that begin with # are passed over."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "is no UTF-8 text"
        raise ConfigError(f"--list {path}: {what}; give a text file of URLs, one a line") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ConfigError(f"--list {path}: holds no URL; give a text file of URLs, one a line")
    return found


def _archived(out: Path, options: Mapping[str, Any]) -> "FetchSummary":
    """Take a part of Common Crawl."""
    from curate.config import validate
    from curate.fetch.commoncrawl import fetch_common_crawl
    from curate.fetch.settings import CommonCrawlSettings

    settings = validate(CommonCrawlSettings, given(options, CommonCrawlSettings.model_fields), name="fetch")
    return fetch_common_crawl(settings, out, _progress)


def _progress(summary: "FetchSummary") -> None:
    """Shows how far a fetch is on the line of the terminal that the last call wrote."""
    rate = console.size(summary.bytes / summary.seconds) if summary.seconds else "0 B"
    failed = f", {len(summary.errors):,} failed" if summary.errors else ""
    console.passing(
        f"{summary.tried:,} tried, {summary.pages:,} there{failed}, {console.size(summary.bytes)}, {rate}/s"
    )


def _report(summary: "FetchSummary", noun: str, as_json: bool) -> None:
    """Prints what was fetched, and what was not and why."""
    not_fetched = {reason: count for reason, count in summary.not_fetched.items() if count}
    files = [str(path) for path in summary.files]
    if as_json:
        facts = {
            "pages": summary.pages, "known": summary.known, "redirects": summary.redirects,
            "failed": len(summary.errors), "cut_off": summary.truncated, "bytes": summary.bytes,
            "seconds": round(summary.seconds, 1), "files": files, "not_fetched": not_fetched, "errors": summary.errors,
        }  # fmt: skip
        print_json(facts)
        return
    for url, what in summary.errors[:SHOWN]:
        console.err(f"warning: {url}: {what}")
    if len(summary.errors) > SHOWN:
        console.err(f"warning: {len(summary.errors) - SHOWN:,} more failed; --json lists all")
    known = f" ({summary.known:,} asked for were there already)" if summary.known else ""
    got = f"{console.plural(summary.pages, noun)}{known}; {console.size(summary.bytes)} in {summary.seconds:.0f} s"
    named = ", ".join(files) if len(files) <= SHOWN else f"{len(files):,} files beside {files[0]}"
    console.out(console.wrap(f"{got} -> {named}"))
    left = {"failed": len(summary.errors), "cut off at --max-bytes": summary.truncated, **not_fetched}
    if any(left.values()):
        told = ", ".join(f"{count:,} {reason}" for reason, count in left.items() if count)
        console.out(console.wrap(f"not fetched, or not whole: {told}"))
