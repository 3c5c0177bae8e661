"""Reading WARC: our reader beside fastwarc and warcio on the real crawl files of ../shared/data/crawl.

Ours gives Arrow batches of the decoded bodies of all responses, with ids, addresses, dates and verdicts. The peers read
every record's body, as it is stored (chunks and content codings stay), and keep none of it: less work than ours.
MB are those of the compressed files.
"""

from pathlib import Path

from benchmarks.harness import Report, measure, peak_memory, run
from benchmarks.texts import SHARED
from curate.io.batches import ReadCounts
from curate.io.inputs import Slice
from curate.io.warc import read_warc


def files() -> list[Path]:
    """The four WARC files of the crawl."""
    found = sorted((SHARED / "crawl").glob("*.warc.gz"))
    if not found:
        raise SystemExit(f"the real data that this benchmark reads is absent: {SHARED / 'crawl'}")
    return found


def _ours(verify: bool = False) -> int:
    """Records read, rows and others."""
    counts, rows = ReadCounts(), 0
    for path in files():
        piece = Slice(str(path), path.name, "warc", "main", verify_digests=verify)
        rows += sum(batch.batch.num_rows for batch in read_warc(piece, counts))
    assert not counts.warnings
    return rows + counts.other_records.total()


def _fastwarc() -> int:
    from fastwarc.warc import ArchiveIterator

    records = 0
    for path in files():
        with path.open("rb") as handle:
            for record in ArchiveIterator(handle, parse_http=False):
                record.reader.read()
                records += 1
    return records


def _warcio() -> int:
    from warcio.archiveiterator import ArchiveIterator

    records = 0
    for path in files():
        with path.open("rb") as handle:
            for record in ArchiveIterator(handle):
                record.raw_stream.read()
                records += 1
    return records


def reading(report: Report) -> None:
    """All records of the crawl, whole rounds of ours and of fastwarc in turn, so that both meet the same load."""
    size = sum(path.stat().st_size for path in files())
    ours, theirs = measure(_ours, rounds=1), measure(_fastwarc, rounds=1)
    for _ in range(6):
        ours = min(ours, measure(_ours, rounds=1))
        theirs = min(theirs, measure(_fastwarc, rounds=1))
    assert ours.result == theirs.result, f"{ours.result} records, fastwarc {theirs.result}"
    report.row("warc_rows", ours.rate(size), "MB/s", 7, "fastwarc", theirs.rate(size), f"{ours.result:,} records")
    slow = measure(_warcio, rounds=2)
    report.row("warc_rows_warcio", ours.rate(size), "MB/s", 7, "warcio", slow.rate(size))
    checked = measure(lambda: _ours(verify=True))
    report.row("warc_rows_digests", checked.rate(size), "MB/s", checked.rounds, note="verify_digests")


def memory(report: Report) -> None:
    """Peak memory of a process that reads the crawl and keeps nothing."""
    before, peak, _ = peak_memory(_ours)
    report.row("warc_memory", peak - before, "MB", 1, note=f"above the {before:.0f} MB of the imports")


if __name__ == "__main__":
    run("warc", [reading, memory], ["fastwarc", "warcio", "pyarrow"])
