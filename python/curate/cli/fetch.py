"""`curate fetch URL… --out DIR`, with an option for every field of FetchSettings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from curate import console
from curate.cli.options import CONTEXT, OUT, given, print_json, setting_option, with_options

SUMMARY = "Record web pages as WARC files."
HELP = f"""{SUMMARY}

Follows links breadth-first below the URLs given, politely: robots.txt, one request at a time to a host with a pause.
Requests, responses and redirects are recorded as they travelled."""
SHOWN = 10  # errors that are printed; --json has all


def fetch_command() -> click.Command:
    """The command. FetchSettings is imported here, since its fields become the options."""
    from curate.fetch.settings import FetchSettings

    added = with_options(
        click.argument("urls", nargs=-1, required=True, metavar="URL..."),
        *(setting_option(key, field) for key, field in FetchSettings.model_fields.items()),
        click.option("--out", required=True, metavar="DIR", type=OUT, help="Folder for the files."),
        click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
    )
    made: click.Command = click.command("fetch", context_settings=CONTEXT, help=HELP)(added(fetch_pages))
    return made


def fetch_pages(urls: Sequence[str], out: Path, as_json: bool, **options: Any) -> None:
    """Fetch, showing on a terminal how far it is, and print a summary. `options` are those made from FetchSettings."""
    from curate.config import validate
    from curate.fetch.crawl import fetch
    from curate.fetch.settings import FetchSettings

    settings = validate(FetchSettings, given(options, FetchSettings.model_fields), name="fetch")
    summary = fetch(settings, urls, out, _progress)
    console.passing("")  # removes the line of progress
    files = [str(path) for path in summary.files]
    if as_json:
        facts = {
            "pages": summary.pages, "redirects": summary.redirects, "failed": len(summary.errors),
            "cut_off": summary.truncated, "forbidden": summary.disallowed, "bytes": summary.bytes,
            "seconds": round(summary.seconds, 1), "files": files, "errors": summary.errors,
        }  # fmt: skip
        print_json(facts)
        return
    for url, what in summary.errors[:SHOWN]:
        console.err(f"warning: {url}: {what}")
    size, named = console.size(summary.bytes), ", ".join(files)
    console.out(console.wrap(f"{summary.pages:,} pages, {size} in {summary.seconds:.0f} s -> {named}"))


def _progress(summary: Any) -> None:
    """Shows a FetchSummary on the line of the terminal that the last call wrote."""
    console.passing(f"{summary.tried:,} tried, {summary.pages:,} pages, {console.size(summary.bytes)}")
