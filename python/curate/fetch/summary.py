"""What a fetch has done so far, and what it did not do, for progress and for the report at its end."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class FetchSummary:
    """Counts of one call; a progress callback sees it after every page, record or piece of a file."""

    tried: int = 0  # URLs, records or files taken up, each counted once however often it was asked for
    pages: int = 0  # answered with a status of 200 to 299; of Common Crawl: records or files that are there, whole
    known: int = 0  # of the tried: not asked for, because an earlier call has recorded them
    redirects: int = 0
    truncated: int = 0  # recorded in part, because they were longer than max_bytes
    bytes: int = 0  # of the responses of this call as they travelled, headers included
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)  # URL and what happened, in the order of the queue
    not_fetched: Counter[str] = field(default_factory=Counter)  # by reason: what was never asked for
