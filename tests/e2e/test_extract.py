"""`curate extract` as a user types it: which extractor, which output, and why a block was kept."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import corpus
from torture import PAGES


def crawl(folder: Path) -> Path:
    """Two articles with navigation, one page without text, one plain text."""
    pages = [
        ("https://e.test/one", corpus.page(corpus.article(random.Random(1)))),
        ("https://e.test/two", corpus.page(corpus.article(random.Random(2)))),
        ("https://e.test/none", b"<html><script>go()</script></html>"),
    ]
    corpus.write_warc(folder / "c.warc.gz", pages)
    return folder / "c.warc.gz"


def documents(out: Path) -> list[dict[str, Any]]:
    rows = [row for path in sorted((out / "documents").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: row["url"])


def rejects(out: Path) -> dict[str, tuple[str, Any, Any]]:
    rows = [row for path in (out / "rejects").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["url"]: (row["rule"], row["value"], row["limit"]) for row in rows}


def test_documents_say_how_sure_the_extractor_was(tmp_path: Path, curate: Any) -> None:
    done = curate("extract", crawl(tmp_path), "--out", tmp_path / "out")
    assert done.code == 0, done.err
    one, two = documents(tmp_path / "out")
    assert one["text"] != two["text"] and one["title"]
    assert 0 < one["extract_score"] <= 1 and 0 < one["extract_share"] <= 1
    assert rejects(tmp_path / "out") == {"https://e.test/none": ("extract.empty", 0.0, 1.0)}
    sure = [row["extract_score"] for row in (one, two)]
    limit = sum(sure) / 2
    done = curate("extract", tmp_path / "c.warc.gz", "--out", tmp_path / "sure", "--min-score", limit)
    assert done.code == 0, done.err
    if sure[0] != sure[1]:
        rule, value, told = next(v for v in rejects(tmp_path / "sure").values() if v[0] != "extract.empty")
        assert rule == "extract.low_score" and value < told == limit


def test_several_policies_are_several_texts_and_their_union_keeps_what_one_of_them_keeps(
    tmp_path: Path, curate: Any
) -> None:
    path, policies = crawl(tmp_path), ("--policy", "precision", "--policy", "recall")
    done = curate("extract", path, "--out", tmp_path / "a", *policies)
    assert done.code == 0, done.err
    for row in documents(tmp_path / "a"):
        assert len(row["text"]) <= len(row["text_recall"])
        assert 0 < row["extract_share"] <= row["extract_share_recall"] <= 1 and row["extract_score_recall"] > 0
        assert row["page_type"] and 0 < row["page_type_score"] <= 1
    chars = max(len(row["text"]) for row in documents(tmp_path / "a")) + 1
    done = curate("extract", path, "--out", tmp_path / "c", *policies, "--union", "--min-chars", chars)
    assert done.code == 0, done.err
    longer = {row["url"] for row in documents(tmp_path / "a") if len(row["text_recall"]) >= chars}
    assert {row["url"] for row in documents(tmp_path / "c")} == longer
    assert all(row["text"] == row["text_recall"] for row in documents(tmp_path / "c"))
    done = curate("extract", path, "--out", tmp_path / "d", "--policy", "recall", "--policy", "recall")
    assert done.code == 2 and "names a policy twice" in " ".join(done.err.split())


def test_documents_beside_pages_have_the_same_columns_in_every_file(tmp_path: Path, curate: Any) -> None:
    (tmp_path / "in").mkdir()
    crawl(tmp_path / "in")
    (tmp_path / "in" / "d.jsonl").write_text('{"text": "A document without a page.", "url": "https://e.test/zero"}\n')
    several = ("--policy", "balanced", "--policy", "recall", "--output", "blocks")
    done = curate("extract", tmp_path / "in", "--out", tmp_path / "out", *several)
    assert done.code == 0, done.err
    files = sorted((tmp_path / "out" / "documents").glob("*.parquet"))
    schemas = [pq.read_schema(path) for path in files]
    assert len(files) > 1 and {"text_recall", "blocks"} <= set(schemas[0].names)
    assert all(found.equals(schemas[0]) for found in schemas)
    plain = documents(tmp_path / "out")[-1]
    assert plain["text"] == "A document without a page." and plain["text_recall"] is plain["blocks"] is None


def test_your_own_function_extracts_by_import_path(tmp_path: Path, curate: Any) -> None:
    (tmp_path / "mine.py").write_text(
        "def shout(page, charset):\n    return f'{charset} {len(page)}'.upper()\n"
        "def wrong(page, charset):\n    return 1\n"
    )
    env, allow = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}, ("--allow-code", "mine")
    path = crawl(tmp_path)
    done = curate("extract", path, "--out", tmp_path / "a", "--extractor", "mine:shout", *allow, env=env)
    assert done.code == 0, done.err
    assert all(row["text"].split()[0] in ("NONE", "UTF-8") for row in documents(tmp_path / "a"))
    done = curate("extract", path, "--out", tmp_path / "b", "--extractor", "mine:wrong", *allow, env=env)
    assert done.code == 0 and {rule for rule, _, _ in rejects(tmp_path / "b").values()} == {"extract.error"}
    done = curate(
        "extract", path, "--out", tmp_path / "c", "--extractor", "absent:shout", "--allow-code", "absent", env=env
    )
    assert done.code == 2 and "No module named 'absent'" in " ".join(done.err.split())
    done = curate("extract", path, "--out", tmp_path / "d", "--extractor", "mine:absent", *allow, env=env)
    assert done.code == 2 and "mine:absent cannot be" in " ".join(done.err.split())
    done = curate("extract", path, "--out", tmp_path / "e", "--extractor", "trafilature", env=env)
    assert done.code == 2 and 'did you mean "trafilatura"?' in " ".join(done.err.split())


def test_an_explanation_shows_every_block_of_a_file_or_of_a_page_in_the_crawl(tmp_path: Path, curate: Any) -> None:
    page = corpus.page(corpus.article(random.Random(1)))
    (tmp_path / "page.html").write_bytes(page)
    done = curate("extract", "--explain", tmp_path / "page.html")
    assert done.code == 0, done.err
    assert "blocks kept" in done.out and max(len(line) for line in done.out.splitlines()[1:2]) <= 80
    by_file = curate("extract", "--explain", tmp_path / "page.html", "--json").json
    by_url = curate("extract", "--explain", "https://e.test/one", crawl(tmp_path), "--json").json
    assert by_file["text"] == by_url["text"] and by_file["blocks"] == by_url["blocks"]
    assert {"text", "path", "first", "probability", "kept", "unit", "why", "reasons"} == set(by_file["blocks"][0])
    shown = curate("extract", "--explain", tmp_path / "page.html").out
    assert "by itself, limit" in shown and " sure\n" in shown and by_file["page_type"] in shown
    done = curate("extract", "--explain", "https://e.test/ones", tmp_path / "c.warc.gz")
    assert done.code != 0 and "the nearest is https://e.test/one" in " ".join(done.err.split())
    done = curate("extract", "--explain", tmp_path / "absent.html")
    assert done.code == 2 and "No such file" in " ".join(done.err.split())
    done = curate("extract", "--out", tmp_path / "x")
    assert done.code == 2 and "Missing argument 'INPUT...'" in done.err


def test_markdown_is_written_where_asked_for(tmp_path: Path, curate: Any) -> None:
    done = curate("extract", crawl(tmp_path), "--out", tmp_path / "out", "--output", "markdown", "--json")
    assert done.code == 0 and json.loads(done.out), done.err
    assert any(line.startswith("# ") for row in documents(tmp_path / "out") for line in row["text"].splitlines())


def test_links_and_blocks_are_written_where_asked_for(tmp_path: Path, curate: Any) -> None:
    page = corpus.page(corpus.article(random.Random(3)) + " See <a href='https://e.test/more'>the rest</a> of it all.")
    corpus.write_warc(tmp_path / "c.warc.gz", [("https://e.test/one", page), ("https://e.test/none", b"<p></p>")])
    done = curate(
        "extract", tmp_path / "c.warc.gz", "--out", tmp_path / "a", "--output", "markdown", "--links", "inline"
    )
    assert done.code == 0, done.err
    assert "[the rest](https://e.test/more)" in documents(tmp_path / "a")[0]["text"]
    done = curate("extract", tmp_path / "c.warc.gz", "--out", tmp_path / "b", "--output", "blocks")
    assert done.code == 0, done.err
    (row,) = documents(tmp_path / "b")
    assert {block["kind"] for block in row["blocks"]} >= {"paragraph"} and "the rest" in row["text"]
    done = curate("extract", tmp_path / "c.warc.gz", "--out", tmp_path / "c", "--links", "inline")
    assert done.code == 2 and 'links is "inline", which only output "markdown" can write' in " ".join(done.err.split())


@pytest.mark.slow
def test_a_worker_stays_small_whatever_the_pages(tmp_path: Path, curate: Any) -> None:
    """Hostile pages about as large as are read: 200 MiB are enough, and each is a document or a reject."""
    pages = [(f"https://e.test/{i}", page(5_000_000)) for i, page in enumerate(PAGES.values())]
    corpus.write_warc(tmp_path / "c.warc.gz", pages)
    out = tmp_path / "out"
    done = curate("extract", tmp_path / "c.warc.gz", "--out", out, "--workers", 1, "--json")
    assert done.code == 0, done.err
    assert max(p["peak_memory_bytes"] for p in done.json["passes"]) <= 200 << 20
    assert len(documents(out)) + len(rejects(out)) == len(PAGES)
