"""More pages like those of a crawl: each copy of a WARC has the same pages with other words, by a seed.

In every page some frequent words are replaced by others of its own, wherever they stand between tags. Texts keep
their lengths, languages, markup and blocks; two variations of a page are neither equal nor near-duplicates, while
pages that were alike in the crawl stay alike in each copy, so that deduplication has the same work a copy.
"""

import gzip
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType

WORD = re.compile(rb"(?<=[>\s])[A-Za-z\x80-\xff]{4,12}(?=[\s<.,])")
REPLACED = 40  # distinct words of a page


def vary(page: bytes, seed: str) -> bytes:
    """The page with REPLACED of its words exchanged among themselves, the same for the same seed and page."""
    counts = Counter(WORD.findall(page))
    words = [word for word, _ in counts.most_common(3 * REPLACED)]
    rng = random.Random(f"{seed} {len(page)}")
    rng.shuffle(words)
    words = words[:REPLACED]
    if len(words) < 2:
        return page
    other = dict(zip(words, words[1:] + words[:1], strict=True))
    return WORD.sub(lambda found: other.get(found[0], found[0]), page)


def copies(crawl: Path, folder: Path, count: int) -> Path:
    """`count` variations of every .warc.gz of `crawl` below `folder`, the first as it is; made once."""
    done = folder / f"done-{count}"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(crawl.glob("*.warc.gz")):
            (folder / f"0-{path.name}").write_bytes(path.read_bytes())
            for number in range(1, count):
                with open(folder / f"{number}-{path.name}", "wb") as out:
                    for record in _varied(path, str(number)):
                        out.write(gzip.compress(record, 1, mtime=0))
        done.touch()
    return folder


def _varied(path: Path, seed: str) -> Iterator[bytes]:
    """The records of an archive, the bodies of responses varied and their addresses made new."""
    with open(path, "rb") as handle:
        for record in ArchiveIterator(handle, parse_http=False):
            body = record.reader.read()
            if record.record_type == WarcRecordType.response:
                head, gap, page = body.partition(b"\r\n\r\n")
                encoded = re.search(rb"(?i)^(content|transfer)-encoding:", head, re.MULTILINE)
                body = head + gap + (page if encoded else vary(page, seed))
            lines = [f"WARC/1.1\r\nContent-Length: {len(body)}"]
            for name, value in record.headers.items():
                if name.lower() == "warc-target-uri":
                    value = f"{value}{'&' if '?' in value else '?'}copy={seed}"
                if name.lower() not in ("content-length", "warc-block-digest", "warc-payload-digest"):
                    lines.append(f"{name}: {value}")
            yield "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"
