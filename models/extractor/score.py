"""How good texts are beside the truth: word F1 a page, passages found, and how sure a mean is.

Word F1 is that of two multisets of words, as WCXB and others score it: order does not count, frequency does. A word
is a run of letters, digits and underscores, lower-cased; Chinese, Japanese and Korean characters are words of their
own. A truth without a word gives 1 to an empty text and 0 to any other.

Passage F1 ("seg") is that of trafilatura's evaluation: each passage that must be in the text and is counts as a true
positive, each that must not be and is as a false positive, over all pages together; case and runs of white space do
not count.

Intervals come from 1,000 bootstrap resamples of registered domains, because pages of one site are alike: the 2.5 and
97.5 percentiles. The same resamples serve every extractor, so that a difference is that of pairs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from models.extractor.truth import FULL, KINDS, Page, domain

RESAMPLES = 1000
SEED = 1

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_SPACE = re.compile(r"\s+")
_P_TAG = re.compile(r"</?p>")

# The order in which tables show the groups that are there.
GROUPS = (
    ("WCXB",)
    + tuple(f"WCXB {kind}" for kind in ("article", "forum", "product", "listing", "collection", "documentation"))
    + ("WCXB service", "DAnIEL", "DAnIEL el", "DAnIEL en", "DAnIEL pl", "DAnIEL ru", "DAnIEL zh")
    + ("scrapinghub", "newspaper", "fundus", "full text", "full text without DAnIEL", "seg")
)
_LANGUAGES = {"Greek": "el", "English": "en", "Polish": "pl", "Russian": "ru", "Chinese": "zh"}


class F1(NamedTuple):
    precision: float
    recall: float
    f1: float


def words(text: str) -> list[str]:
    """The words that are compared, in order."""
    return _WORD.findall(text.lower())


def word_f1(text: str, truth: str) -> F1:
    """Precision, recall and F1 of the multiset of the text's words against the truth's."""
    found, wanted = words(text), words(truth)
    if not wanted or not found:
        same = float(len(wanted) == len(found))
        return F1(same, same, same)
    both = (Counter(found) & Counter(wanted)).total()
    return F1(both / len(found), both / len(wanted), 2 * both / (len(found) + len(wanted)))


def page_recall(text: str, truth: str, page: str) -> tuple[float, float]:
    """Which share of the truth's words stands in the page at all, and which share of those the text has."""
    wanted = Counter(words(truth))
    there = wanted & Counter(words(page))
    found = there & Counter(words(text))
    return there.total() / max(wanted.total(), 1), found.total() / max(there.total(), 1)


class Passages(NamedTuple):
    """Passages of a page: `hits` of `wanted` are in its text, and `wrong` of those that must not be."""

    hits: int
    wanted: int
    wrong: int


def passages(text: str, wanted: Iterable[str], unwanted: Iterable[str]) -> Passages:
    """How many of the passages are in the text, white space and case aside."""
    within = _plain(text)
    present = [_plain(passage) in within for passage in wanted]
    return Passages(sum(present), len(present), sum(_plain(passage) in within for passage in unwanted))


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text.lower())


def main_text(truth: Mapping[str, Any]) -> str:
    """The whole main text that a row of one of the FULL kinds holds, without markup."""
    text = truth["main"] or ""
    return _P_TAG.sub("", text) if truth["kind"] == "full_p_tags" else text


def groups(page: Page) -> tuple[str, ...]:
    """The groups whose mean this page is part of; none for a page without a truth that can be scored."""
    kind = page.truth["kind"] if page.truth else None
    if kind == "segments":
        return ("seg",)
    if kind not in FULL:
        return ()
    if page.source == "daniel":
        return ("DAnIEL", f"DAnIEL {_LANGUAGES.get(page.lang or '', page.lang)}", "full text")
    if page.source.startswith("wcxb"):
        return ("WCXB", f"WCXB {page.page_type}", "full text", "full text without DAnIEL")
    source = "newspaper" if page.source.startswith("newspaper") else page.source
    return (source, "full text", "full text without DAnIEL")


class PageScore(NamedTuple):
    """One page's score and where it counts: `f1` for a full text, `passages` for a page of "seg"."""

    record_id: str
    domain: str
    groups: tuple[str, ...]
    f1: F1 | None
    passages: Passages | None


class Estimate(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def evaluate(pages: Iterable[Page], texts: Mapping[str, str]) -> "Scores":
    """Score the text of every page that has a truth to score it by; KeyError where a page has no text.

    An extractor that gave nothing is scored with an empty text: the caller puts it in, so that a page is never
    left out unseen.
    """
    made = []
    for page in pages:
        where = groups(page)
        if not where or page.truth is None:
            continue
        text = texts[page.record_id]
        f1 = found = None
        if where == ("seg",):
            found = passages(text, page.truth["with"] or (), page.truth["without"] or ())
        else:
            f1 = word_f1(text, main_text(page.truth))
        made.append(PageScore(page.record_id, domain(page.url), where, f1, found))
    return Scores(tuple(made))


@dataclass(frozen=True)
class Scores:
    """The scores of every page, and the figures of every group of them."""

    pages: tuple[PageScore, ...]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups that have pages, in the order of GROUPS."""
        there = {name for page in self.pages for name in page.groups}
        return tuple(name for name in GROUPS if name in there) + tuple(sorted(there - set(GROUPS)))

    def count(self, group: str) -> int:
        """Pages of the group."""
        return sum(group in page.groups for page in self.pages)

    def mean(self, group: str) -> F1:
        """Precision, recall and F1: the mean of its pages, for "seg" those of all passages together."""
        return F1(*(float(x) for x in _means(self._sums(group).sum(axis=0), group)))

    def f1(self, group: str) -> Estimate:
        """The group's F1 with its interval."""
        drawn = self._drawn(group)
        return Estimate(self.mean(group).f1, *_percentiles(drawn))

    def above(self, other: "Scores", group: str, what: Literal["precision", "recall", "f1"] = "f1") -> Estimate:
        """How much this figure is above the other's on the same pages, with its interval. ValueError: other pages."""
        if [page.record_id for page in self.pages] != [page.record_id for page in other.pages]:
            raise ValueError("the two extractors were scored on different pages")
        value = getattr(self.mean(group), what) - getattr(other.mean(group), what)
        return Estimate(value, *_percentiles(self._drawn(group, what) - other._drawn(group, what)))

    def _sums(self, group: str) -> np.ndarray:
        """Float64 [domains, 4]: pages and the sums of precision, recall, F1; for "seg" 0, hits, wanted, wrong."""
        rows: dict[str, np.ndarray] = {}
        for page in self.pages:
            if group in page.groups:
                values = (1.0, *page.f1) if page.f1 is not None else (0.0, *(page.passages or ()))
                rows[page.domain] = rows.get(page.domain, np.zeros(4)) + values
        if not rows:
            raise ValueError(f"no page of the group {group} was scored")
        return np.array([rows[name] for name in sorted(rows)])

    def _drawn(self, group: str, what: str = "f1") -> np.ndarray:
        """Float64 [RESAMPLES]: the group's F1, or another figure, in each resample of its domains."""
        sums = self._sums(group)
        n = len(sums)
        times = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        return _means(times @ sums, group)[F1._fields.index(what)]


def kinds(pages: Iterable[Page], said: Mapping[str, str]) -> dict[str, F1]:
    """Precision, recall and F1 of what is said of each kind of page; under "macro" their means over the kinds."""
    pairs = [(page.page_type, said[page.record_id]) for page in pages if page.page_type in KINDS]
    found = {}
    for kind in KINDS:
        hits = sum(truth == guess == kind for truth, guess in pairs)
        wanted, named = (sum(pair[side] == kind for pair in pairs) for side in (0, 1))
        found[kind] = F1(hits / max(named, 1), hits / max(wanted, 1), 2 * hits / max(wanted + named, 1))
    found["macro"] = F1(*(float(x) for x in np.mean(list(found.values()), axis=0)))
    return found


def _means(sums: np.ndarray, group: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(precision, recall, F1) of sums [..., 4]."""
    count, first, second, third = np.moveaxis(np.asarray(sums), -1, 0)
    if group != "seg":
        return first / count, second / count, third / count
    hits, wanted, wrong = first, second, third
    found = hits + wrong
    precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
    recall = np.divide(hits, wanted, out=np.zeros_like(hits), where=wanted > 0)
    total = found + wanted
    return precision, recall, np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)


def _percentiles(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)
