"""`curate find`: which documents of a run hold some words, and where."""

import itertools
from pathlib import Path

import click

from curate import console
from curate.cli.options import AS_JSON, CONTEXT, print_json
from curate.errors import ConfigError


@click.command(context_settings=CONTEXT)
@click.argument("words")
@click.argument("run", type=console.Place(local=True))
@click.option("--show", metavar="N", type=click.IntRange(0), default=10, show_default=True, help="Places to show.")
@AS_JSON
def find(words: str, run: Path, show: int, as_json: bool) -> None:
    """Which documents of a run hold these words, and where.

    WORDS are looked for byte for byte. RUN is the folder of a run with
    substring_dedup and its setting keep_index.
    """
    from curate.dedup.find import Texts

    if not words:
        raise ConfigError("find: no words to look for")
    count, hits = Texts(run).find(words)
    shown = list(itertools.islice(hits, show))
    if as_json:
        places = [{"doc_id": hit.doc_id.hex(), "start": hit.start, "before": hit.before, "after": hit.after}
                  for hit in shown]  # fmt: skip
        print_json({"count": count, "places": places})
        return
    for hit in shown:
        text = f"{hit.before}[{words}]{hit.after}".replace("\n", " ")
        console.out(f"{hit.doc_id.hex()} at {hit.start:,}: {console.harmless(text)}")
    more = f"; {count - len(shown):,} more are not shown (--show)" if count > len(shown) else ""
    console.out(f"{console.plural(count, 'place')}{more}")
