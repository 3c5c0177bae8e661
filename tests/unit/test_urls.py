"""Lists against addresses and words: url_filter, take_down and word_filter."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate import lookups
from curate.config import parse_yaml, validate
from curate.errors import ConfigError
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import resolve, single_stage
from curate.stages import take_down, url_filter, word_filter


def listed(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def ran(inline: None, tmp_path: Path) -> Any:
    """ran(stage, settings, rows) -> (kept rows, rejects, outcome) of a run over these JSON rows."""

    def run(stage: str, config: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
        corpus.write_jsonl(tmp_path / "in/a.jsonl", rows)
        recipe = single_stage(stage, config, [InputSettings(path=str(tmp_path / "in"))], guard="off")
        outcome = driver.run(recipe, tmp_path / "out")
        found = [
            [
                row
                for path in sorted((tmp_path / "out" / part).glob("*.parquet"))
                for row in pq.read_table(path).to_pylist()
            ]
            for part in ("documents", "rejects")
        ]
        return found[0], found[1], outcome

    return run


# -- url_filter ------------------------------------------------------------------------------------------------


def test_each_list_is_a_rule_and_a_row_without_address_stays(tmp_path: Path, ran: Any) -> None:
    listed(tmp_path, "ut1/adult/domains", "bad.example", "BLOGSPOT.com")
    listed(tmp_path, "ut1/adult/urls", "www.mixed.example/adult")
    listed(tmp_path, "ut1/adult/usage", "black")
    listed(tmp_path, "ut1/adult/expressions", "(hot|free)-x", "", "y.z")
    config = {
        "folders": [str(tmp_path / "ut1")],
        "adblock": [
            listed(tmp_path, "easy.txt", "[Adblock]", "||ads.example^", "/banner/*", "||a.example^$third-party")
        ],
        "words": [listed(tmp_path, "hard.txt", "casino")],
        "soft_words": [listed(tmp_path, "soft.txt", "hot", "free")],
    }
    urls = [
        "https://WWW.Bad.example/x", "http://x.bad.example", "http://mixed.example/Adult/1", "http://mixed.example/adults",
        "http://x.ads.example/", "http://a.example/", "http://c.test/Online-CASINO", "http://c.test/hot", "http://c.test/hot_free",
        "http://me.blogspot.com/", None, "",
    ]  # fmt: skip
    rows = [{"text": f"text {i}", "url": url} for i, url in enumerate(urls)]
    kept, rejects, _ = ran("url_filter", config, rows)
    assert [row["text"] for row in kept] == [f"text {i}" for i in (3, 5, 7, 9, 10, 11)]
    assert [(row["rule"], row["detail"]) for row in rejects] == [
        ("url_filter.domains.adult", "bad.example"), ("url_filter.domains.adult", "bad.example"),
        ("url_filter.urls.adult", "mixed.example/adult"), ("url_filter.adblock.easy", "ads.example"),
        ("url_filter.words.hard", "casino"), ("url_filter.soft_words.soft", "hot free"),
    ]  # fmt: skip
    told = url_filter.STAGE.remarks(url_filter.UrlFilter.model_validate(config))
    assert (
        "url_filter: domains.adult has 2 entries; 1 of them are public suffixes and stand for that host alone" in told
    )
    assert "url_filter: adblock.easy has 1 entries; 2 lines are of a form that is not read" in told
    (unread,) = [sentence for sentence in told if "not applied" in sentence]
    assert "has 2 files with 3 lines that are not read: expressions (1), usage (1)" in unread


def test_lists_that_cannot_do_anything_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name a list"):
        validate(url_filter.UrlFilter, {})
    with pytest.raises(ConfigError, match="no such list"):
        url_filter.State(url_filter.UrlFilter(domains=[str(tmp_path / "none.txt")]))
    empty = listed(tmp_path, "empty.txt", "# nothing")
    with pytest.raises(ConfigError, match=r"empty\.txt: no entry"):
        url_filter.State(url_filter.UrlFilter(words=[empty]))
    with pytest.raises(ConfigError, match="no folder with files"):
        url_filter.lists_of(url_filter.UrlFilter(folders=[str(tmp_path)]))


def test_pages_are_dropped_before_extraction(inline: None, tmp_path: Path) -> None:
    pages = [(f"https://{host}.test/", corpus.page("words " * 30)) for host in ("good", "bad")]
    corpus.write_warc(tmp_path / "in/a.warc", pages, gz=False)
    config = {"domains": [listed(tmp_path, "d.txt", "bad.test")]}
    recipe = single_stage("url_filter", config, [InputSettings(path=str(tmp_path / "in"))])
    assert driver.run(recipe, tmp_path / "out").exit_code == 0
    (path,) = (tmp_path / "out/documents").glob("*.parquet")
    assert pq.read_table(path, columns=["url"]).to_pylist() == [{"url": "https://good.test/"}]


def test_sites_go_by_the_public_suffix_list() -> None:
    urls = ["http://a.b.example.co.uk/x", "https://me.blogspot.com", "http://10.0.0.1:80/", "", "http://www.localhost/"]
    assert lookups.url_sites(pa.array(urls)).to_pylist() == [
        "example.co.uk",
        "me.blogspot.com",
        "10.0.0.1",
        "",
        "localhost",
    ]


# -- take_down -------------------------------------------------------------------------------------------------


def test_what_is_asked_for_goes_and_the_report_says_what_was_found(tmp_path: Path, ran: Any) -> None:
    urls = [
        "http://a.test/1?utm_source=x",
        "https://www.b.test/2",
        "http://deep.c.test/",
        "http://d.test/",
        "http://a.test/11",
    ]
    rows = [{"text": f"text {i}", "url": url} for i, url in enumerate(urls)]
    corpus.write_jsonl(tmp_path / "in/a.jsonl", rows)
    kept, _, _ = ran("holdout", {"share": 0.0}, rows)
    fourth = next(row["doc_id"].hex() for row in kept if row["url"] == "http://d.test/")
    config = {
        "urls": [listed(tmp_path, "u.txt", "https://a.test/1", "http://www.a.test/1/", "http://nowhere.test/")],
        "sites": [listed(tmp_path, "s.txt", "c.test", "www.deep.c.test", "e.test")],
        "doc_ids": [listed(tmp_path, "i.txt", fourth.upper())],
    }
    (tmp_path / "out").rename(tmp_path / "before")
    kept, rejects, outcome = ran("take_down", config, rows)
    assert [row["url"] for row in kept] == [urls[1], urls[4]]
    assert [row["rule"] for row in rejects] == ["take_down.url", "take_down.site", "take_down.doc_id"]
    assert outcome.warnings == [
        f"take_down: {told}, in 1 rows; take_down/ has a line for each request"
        for told in (
            "1 of 1 doc_ids asked for were found",
            "1 of 2 urls asked for were found",
            "1 of 2 sites asked for were found",
        )
    ]
    report = pq.read_table(tmp_path / "out/take_down/take_down.parquet").to_pylist()
    assert [(r["request"], r["rows"], r["covered_by"]) for r in report][1:] == [
        ("https://a.test/1", 1, None), ("http://www.a.test/1/", 0, "https://a.test/1"),
        ("http://nowhere.test/", 0, None), ("c.test", 1, None), ("www.deep.c.test", 0, "c.test"), ("e.test", 0, None),
    ]  # fmt: skip


def test_requests_that_name_nothing_are_refused(tmp_path: Path) -> None:
    for kind, line, message in (
        ("doc_ids", "12ab", "is no doc_id"),
        ("sites", "http://a b/", "is no host"),
        ("urls", "#", "no request"),
    ):
        path = listed(tmp_path, f"{kind}.txt", line)
        with pytest.raises(ConfigError, match=message):
            take_down.State(take_down.TakeDown.model_validate({kind: [path]}))


# -- word_filter -----------------------------------------------------------------------------------------------

TEXTS = [
    "a clean class of glass",
    "so Bad-Word here",
    "two bad\nwords",
    "Bad Words bad words",
    "脏话在这里",
    "pâté",
    "",
]


def test_documents_with_listed_words_are_dropped(tmp_path: Path, ran: Any) -> None:
    lists = [listed(tmp_path, "lists/en", "bad word", "bad words", "ass", "😡"), listed(tmp_path, "lists/zh", "脏话"),
             listed(tmp_path, "lists/fr", "pate")]  # fmt: skip
    kept, rejects, _ = ran("word_filter", {"lists": [str(tmp_path / "lists")]}, [{"text": t} for t in TEXTS if t])
    assert [row["text"] for row in kept] == TEXTS[:1]
    assert [(r["rule"], r["value"], r["detail"]) for r in rejects] == [
        ("word_filter.en", 1, "Bad-Word"), ("word_filter.en", 1, "bad\nwords"), ("word_filter.en", 2, "Bad Words"),
        ("word_filter.zh", 1, "脏话"), ("word_filter.fr", 1, "pâté"),
    ]  # fmt: skip
    config = word_filter.WordFilter(lists=lists, max_matches=1)
    told = word_filter.STAGE.remarks(config)
    assert told[0] == "word_filter: en has 3 entries; 1 lines hold no word or more than 16"
    with pytest.raises(ConfigError, match="no word in 1 lines"):
        word_filter.State(word_filter.WordFilter(lists=[listed(tmp_path, "none", "😡")]))


def test_words_are_replaced_and_each_span_is_recorded(tmp_path: Path, ran: Any) -> None:
    config = {"lists": [listed(tmp_path, "en", "bad word", "word here")], "action": "replace"}
    kept, rejects, _ = ran("word_filter", config, [{"text": "so é Bad-Word here, ok"}, {"text": "word"}])
    assert [row["text"] for row in kept] == ["so é <WORD>, ok", "word"]
    assert [(r["action"], r["rule"], r["span_start"], r["span_end"]) for r in rejects] == [
        ("cut", "word_filter.en", 6, 19)
    ]


def test_a_list_of_a_language_is_for_documents_in_it(tmp_path: Path, ran: Any) -> None:
    lists = [listed(tmp_path, "l/en", "gift"), listed(tmp_path, "l/de", "gift")]
    rows = [{"text": "ein Gift", "lang": lang} for lang in ("en", "de", "fr", None)]
    _, rejects, _ = ran("word_filter", {"lists": lists, "by_language": True}, rows)
    assert json.dumps([row["rule"] for row in rejects]) == '["word_filter.en", "word_filter.de"]'


def test_pages_are_looked_at_in_the_pass_of_their_extraction(tmp_path: Path) -> None:
    corpus.write_warc(tmp_path / "in/a.warc", [("https://bad.test/", corpus.page("words"))], gz=False)
    lists = {"domains": [listed(tmp_path, "d.txt", "bad.test")]}
    steps = [{"url_filter": lists}, {"exact_dedup": {"by": "url"}}, {"url_filter": lists}, "extract", "normalize"]
    text = json.dumps({"version": 1, "inputs": [{"path": str(tmp_path / "in")}], "steps": steps})
    plan, _ = driver.prepare(resolve(parse_yaml(text, "r.yaml")))
    assert [p.name for p in plan.passes] == [
        "00-url_filter+exact_dedup.hash", "01-exact_dedup.pick", "02-exact_dedup.merge",
        "03-exact_dedup.apply+url_filter.2+extract", "04-normalize",
    ]  # fmt: skip
