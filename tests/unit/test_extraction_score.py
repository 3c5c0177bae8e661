"""The metric of extraction, by figures worked out by hand; and the pages that evaluation reads."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from models.extractor import score, truth
from models.extractor.score import F1, Passages


def page(identity: str, text: str | None, **given: Any) -> truth.Page:
    """A page of example.org whose whole main text is `text`; `given` replaces its fields."""
    fields: dict[str, Any] = {
        "record_id": identity,
        "url": f"https://{identity}.example.org/",
        "source": "wcxb_dev",
        "page_type": "forum",
        "lang": None,
        "html": b"",
        "charset": None,
        "truth": {"kind": "full", "main": text},
    }
    return truth.Page(**{**fields, **given})


def test_words_are_lower_cased_runs_and_single_ideographs() -> None:
    assert score.words("It's 3rd_time: ÜBER 日本語 カナx 한글!") == (
        ["it", "s", "3rd_time", "über", "日", "本", "語", "カ", "ナ", "x", "한", "글"]
    )


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("a b c d", "A, b; c. d!", F1(1.0, 1.0, 1.0)),
        ("d c b a", "a b c d", F1(1.0, 1.0, 1.0)),  # order does not count
        ("a a a b", "a b b b", F1(2 / 4, 2 / 4, 2 / 4)),  # frequency does: one a and one b are in both
        ("a b", "a b c d e f g h", F1(1.0, 2 / 8, 4 / 10)),
        ("中文x", "中文字", F1(2 / 3, 2 / 3, 2 / 3)),
        ("a", "b", F1(0.0, 0.0, 0.0)),
        ("", "b", F1(0.0, 0.0, 0.0)),
        ("…", "", F1(1.0, 1.0, 1.0)),  # nothing was there to be found, and no word was
        ("a", "", F1(0.0, 0.0, 0.0)),
    ],
)
def test_word_f1(text: str, wanted: str, expected: F1) -> None:
    assert score.word_f1(text, wanted) == pytest.approx(expected)


def test_passages_are_found_whatever_their_case_and_white_space() -> None:
    text = "First  line\nsecond LINE, and the footer."
    assert score.passages(text, ["line second line", "third"], ["The Footer", "the menu"]) == Passages(1, 2, 1)


def test_markup_of_a_truth_is_no_text() -> None:
    assert score.main_text({"kind": "full_p_tags", "main": "<p>One p.</p>\n<p>Two</p>"}) == "One p.\nTwo"
    assert score.main_text({"kind": "full", "main": "the <p> tag"}) == "the <p> tag"
    assert score.main_text({"kind": "full", "main": None}) == ""


def test_a_group_is_the_mean_of_its_pages_and_seg_counts_passages_together() -> None:
    segments = [
        page("c", None, truth={"kind": "segments", "with": ["a", "b", "c"], "without": ["d"]}),
        page("d", None, truth={"kind": "segments", "with": ["z"], "without": []}),
    ]
    pages = [
        page("a", "x y"),
        page("b", "x y", page_type="article"),
        *segments,
        page("e", "x", source="daniel", lang="Greek", truth={"kind": "full_p_tags", "main": "<p>x</p>"}),
        page("f", None, truth=None),
        page("g", None, truth={"kind": "html", "main": "<div>x</div>"}),
    ]
    scores = score.evaluate(pages, {"a": "x y", "b": "x z", "c": "a b d", "d": "", "e": ""})
    found = {group: scores.mean(group).f1 for group in scores.groups}
    assert found == pytest.approx(
        {
            "WCXB": 0.75, "WCXB article": 0.5, "WCXB forum": 1.0, "DAnIEL": 0.0, "DAnIEL el": 0.0,
            "full text": 0.5, "full text without DAnIEL": 0.75,
            "seg": 2 * 2 / (3 + 4),  # a and b of four wanted; three found, one of them unwanted
        }
    )  # fmt: skip
    assert scores.mean("seg") == pytest.approx((2 / 3, 2 / 4, 4 / 7))
    with pytest.raises(KeyError):
        score.evaluate(pages, {})


def test_intervals_resample_domains_not_pages() -> None:
    """One site of 50 bad pages beside 20 good sites: pages alone would say that the mean is well known."""
    one_site = [page(f"bad{i}", "x", url="https://bad.example/") for i in range(50)]
    sites = [page(f"good{i}", "x", url=f"https://good{i}.example/") for i in range(20)]
    pages = one_site + sites
    poor = score.evaluate(pages, {p.record_id: "" if p in one_site else "x" for p in pages})
    value, low, high = poor.f1("WCXB")
    assert value == pytest.approx(20 / 70)
    assert low < 0.2
    assert high == 1.0  # in more than one resample of forty the bad site is not drawn
    perfect = score.evaluate(pages, {p.record_id: "x" for p in pages})
    above = perfect.above(poor, "WCXB")
    assert above == pytest.approx((50 / 70, 0.0, 1 - low))
    assert perfect.above(perfect, "WCXB") == (0.0, 0.0, 0.0)
    assert poor.f1("WCXB") == (value, low, high)  # the seed is fixed


def test_domains_and_folds() -> None:
    assert truth.domain("https://news.bbc.co.uk/1/hi") == "bbc.co.uk"
    assert truth.domain("http://127.0.0.1:8000/x") == "127.0.0.1"
    assert truth.fold("https://a.example.org/x") == truth.fold("http://b.example.org/y")


@pytest.mark.realdata
def test_every_page_with_a_truth_is_read_once(shared: Path) -> None:
    pages = list(truth.pages(shared / "crawl"))
    assert len(pages) == len({p.record_id for p in pages}) == 2359
    assert sum(p.truth is not None for p in pages) == 1919
    counts = Counter(group for p in pages for group in score.groups(p))
    assert (counts["WCXB"], counts["DAnIEL"], counts["scrapinghub"], counts["seg"]) == (613, 560, 80, 453)
    assert counts["full text"] == counts["full text without DAnIEL"] + counts["DAnIEL"] == 1419
    more = list(truth.pages(shared / "crawl_more"))
    assert sum(p.truth is not None for p in more) == len(more) == 397
    assert not {p.record_id for p in more} & {p.record_id for p in pages}
