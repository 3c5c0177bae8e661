"""Small corpora made on the spot: pages in WARC files, documents in JSONL, with copies and near-copies."""

import io
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

WORDS = [
    "the",
    "be",
    "to",
    "of",
    "and",
    "that",
    "have",
    "with",
    "river",
    "stone",
    "light",
    "winter",
    "garden",
    "letter",
    "market",
    "engine",
    "paper",
    "silver",
    "window",
    "bridge",
    "captain",
    "morning",
    "village",
    "school",
    "kitchen",
    "history",
    "season",
    "teacher",
    "machine",
    "island",
    "forest",
    "doctor",
    "music",
    "journey",
    "people",
    "number",
    "water",
    "question",
    "answer",
    "reason",
    "country",
    "summer",
    "evening",
    "travel",
    "station",
    "harbor",
    "painter",
    "weather",
    "corner",
    "mountain",
    "meadow",
    "lantern",
    "orchard",
    "compass",
    "thunder",
    "whisper",
    "marble",
]


def sentence(rng: random.Random, n: int = 12) -> str:
    words = [rng.choice(WORDS) for _ in range(n)]
    return " ".join(words).capitalize() + "."


def article(rng: random.Random, sentences: int = 20) -> str:
    """Paragraphs of plain English words that the gopher rules keep."""
    paragraphs = [
        " ".join(sentence(rng, rng.randrange(9, 16)) for _ in range(4)) for _ in range(max(1, sentences // 4))
    ]
    return "\n\n".join(paragraphs)


def page(text: str, title: str = "A page") -> bytes:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in text.split("\n\n"))
    html = (
        f"<!doctype html><html><head><title>{title}</title></head><body><nav><a href=/>Home</a></nav>"
        f"<article><h1>{title}</h1>{body}</article></body></html>"
    )
    return html.encode()


def articles(n: int, seed: int = 1) -> list[str]:
    """n texts: of every ten, one is a copy of an earlier one and one a near-copy."""
    rng = random.Random(seed)
    texts: list[str] = []
    for i in range(n):
        if texts and i % 10 == 8:
            texts.append(rng.choice(texts))
        elif texts and i % 10 == 9:
            words = rng.choice(texts).split(" ")
            words[rng.randrange(len(words))] = "elsewhere"
            texts.append(" ".join(words))
        else:
            texts.append(article(rng))
    return texts


def write_warc(path: Path, pages: Iterable[tuple[str, bytes]], *, gz: bool = True, status: str = "200 OK") -> Path:
    """A WARC file with a warcinfo record and a request and a response for every (url, html)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as handle:
        writer = WARCWriter(handle, gzip=gz, warc_version="WARC/1.1")
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "test"}))
        for i, (url, html) in enumerate(pages):
            date = {"WARC-Date": f"2026-01-{i % 28 + 1:02d}T00:00:00Z", "WARC-Record-ID": f"<urn:test:{path.name}:{i}>"}
            ask = StatusAndHeaders("GET / HTTP/1.1", [("Host", "example.test")], is_http_request=True)
            writer.write_record(writer.create_warc_record(url, "request", http_headers=ask))
            answer = StatusAndHeaders(status, [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1")
            record = writer.create_warc_record(
                url, "response", payload=io.BytesIO(html), http_headers=answer, warc_headers_dict=date
            )
            writer.write_record(record)
    return path


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def crawl(folder: Path, *, files: int = 4, pages_a_file: int = 60, seed: int = 1) -> Path:
    """A folder of WARC files whose pages hold `articles`."""
    texts = articles(files * pages_a_file, seed)
    for f in range(files):
        part = texts[f * pages_a_file : (f + 1) * pages_a_file]
        pages = [(f"https://example.test/{seed}/{f}/{i}", page(text, f"Page {i}")) for i, text in enumerate(part)]
        write_warc(folder / f"part-{seed}-{f}.warc.gz", pages)
    return folder
