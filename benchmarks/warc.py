"""Reading WARC: our reader beside fastwarc and warcio on the real crawl files of ../shared/data/crawl.

Ours gives Arrow batches of the decoded bodies of all responses, with ids, addresses, dates and verdicts. The peers read
every record's body, as it is stored (chunks and content codings stay), and keep none of it: less work than ours.
MB are those of the compressed files.
"""

from pathlib import Path

from benchmarks.harness import Report, measure, peak_memory, run
from benchmarks.texts import SHARED
from curate.io.batches import ReadCounts
from curate.io.inputs import Format, Slice
from curate.io.warc import read_warc


def files() -> list[Path]:
    """The four WARC files of the crawl."""
    found = sorted((SHARED / "crawl").glob("*.warc.gz"))
    if not found:
        raise SystemExit(f"the real data that this benchmark reads is absent: {SHARED / 'crawl'}")
    return found


def _ours(form: Format = "warc", verify: bool = False) -> int:
    """Records read, rows and others."""
    counts, rows = ReadCounts(), 0
    for path in files():
        piece = Slice(str(path), path.name, form, "main", verify_digests=verify)
        rows += sum(batch.batch.num_rows for batch in read_warc(piece, counts))
    assert not counts.warnings
    return rows + counts.other_records.total()


def _records() -> int:
    """Records read as WET, of which the files have none: each is decompressed and parsed, and gives no row."""
    return _ours("wet")


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
    """All records of the crawl. Ours and the peer's take turns, so that both meet the same load."""
    size = sum(path.stat().st_size for path in files())
    rounds, works = 10, (_records, _ours, _fastwarc)
    turns = [[measure(work, rounds=1) for work in works] for _ in range(rounds)]
    records, rows, peer = (min(timings) for timings in zip(*turns, strict=True))
    assert records.result == rows.result == peer.result, f"{rows.result} records, fastwarc {peer.result}"
    what = f"{rows.result:,} records"
    report.row("warc_records", records.rate(size), "MB/s", rounds, "fastwarc", peer.rate(size), f"{what}, not decoded")
    report.row("warc_rows", rows.rate(size), "MB/s", rounds, "fastwarc", peer.rate(size), f"{what}, decoded")
    slow = measure(_warcio, rounds=2)
    report.row("warc_rows_warcio", rows.rate(size), "MB/s", rounds, "warcio", slow.rate(size))
    checked = measure(lambda: _ours(verify=True))
    report.row("warc_rows_digests", checked.rate(size), "MB/s", checked.rounds, note="verify_digests")


def memory(report: Report) -> None:
    """Peak memory of a process that reads the crawl and keeps nothing."""
    before, peak, _ = peak_memory(_ours)
    report.row("warc_memory", peak - before, "MB", 1, note=f"above the {before:.0f} MB of the imports")


if __name__ == "__main__":
    run("warc", [reading, memory], ["fastwarc", "warcio", "pyarrow"])
