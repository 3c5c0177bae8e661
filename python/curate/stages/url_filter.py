"""url_filter: documents whose address is on a list are dropped; before `extract` it saves the most.

A list is a file that you name. Lists of domains, one host a line: a host stands for all hosts below it; a public suffix
(co.uk, blogspot.com) stands for itself alone. Lists of addresses: an entry stands for all that is below it. Folders of
such lists as UT1 publishes them (adult/domains, adult/urls; its patterns, in `expressions`, are counted and not
applied). Filter lists of ad blockers, of which the rules ||domain^ are read. Words of addresses: whole ones, several of
a list of soft ones, or letters anywhere in the address, where - and . do not count.

Lists and addresses are brought into one form: lower case, without www., port and user, host names in ASCII, escapes of
words resolved. Each list is a rule, url_filter.domains.adult for example: `curate plan` tells what was read of it, and
one that drops nothing of 100,000 rows is a warning. Documents without an address stay.

    curate url-filter crawl/*.warc.gz --folders ut1/adult --out kept
"""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import lookups
from curate.blocklists import ListFile, list_files, passed_over, read_list, state_bytes, told
from curate.config import Settings, setting
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_verdicts

KINDS = ("domains", "urls", "adblock", "subwords", "words", "soft_words")  # in the order in which they are looked at


class UrlFilter(Settings):
    """The lists, by what their lines are."""

    domains: list[str] = setting([], "lists of hosts; a host stands for all below it")
    urls: list[str] = setting([], "lists of addresses; one stands for all below it")
    adblock: list[str] = setting([], "filter lists of ad blockers, of which the rules ||domain^ are read")
    folders: list[str] = setting([], "folders with files named domains and urls, or folders of such folders")
    words: list[str] = setting([], "lists of words that an address may not have")
    subwords: list[str] = setting([], "lists of letters that an address may not have anywhere; - and . do not count")
    soft_words: list[str] = setting([], "lists of words of which an address may not have several")
    min_soft_words: int = setting(2, "different soft words that are several", unit="words", ge=1)

    @model_validator(mode="after")
    def _has_lists(self) -> Self:
        if not any(getattr(self, name) for name in (*KINDS, "folders")):
            raise ValueError(f"name a list: {', '.join((*KINDS, 'folders'))} are all empty")
        return self


def lists_of(config: UrlFilter) -> list[ListFile]:
    """The lists of the settings, with their names in rules."""
    return list_files({kind: getattr(config, kind) for kind in KINDS}, config.folders)


class State:
    """The opened lists, once a worker. ConfigError for a list that cannot be read or has no entry."""

    def __init__(self, config: UrlFilter, side: Side | None = None) -> None:
        files = lists_of(config)
        self.rules = pa.array([f"url_filter.{file.name}" for file in files])
        contents = [(file.kind, read_list(file.path)) for file in files]
        self.lists = lookups.UrlLists(contents, min_soft_words=config.min_soft_words)
        self.counts = list(zip(files, self.lists.added, strict=True))
        for file, (entries, _, unread) in self.counts:
            if not entries:
                raise ConfigError(f"url_filter.{file.kind}: {file.path}: no entry in {unread:,} lines")


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Drops the rows whose address is on a list; the rule names the list, `detail` the entry."""
    lists, entries = state.lists.find(pc.fill_null(batch.column("url").cast(pa.string()), ""))
    numbers = np.asarray(lists)
    rules = state.rules.take(pa.array(numbers, mask=numbers < 0))
    return with_verdicts(batch, rules, None, None, entries)


def files(config: UrlFilter) -> Mapping[str, Sequence[str]]:
    """The list files by the setting that names them; those of folders together."""
    return {"lists": [file.path for file in lists_of(config)]}


STAGE = Stage(
    name="url_filter",
    version=1,
    summary="Drop documents whose address is on a list.",
    config=UrlFilter,
    rows=lambda config: "any",
    needs=lambda config: ("url",),
    expected=lambda config: (0.2, 1.0),
    rules=lambda config: {f"url_filter.{file.name}": "" for file in lists_of(config)},
    files=files,
    resources=lambda config: Resources(state_bytes=state_bytes(lists_of(config))),
    remarks=lambda config: [
        *told("url_filter", State(config).counts),
        *passed_over("url_filter", config.folders),
    ],
    phases=(Phase("apply", "each", open=State, apply=apply, side=("lists",)),),
)
