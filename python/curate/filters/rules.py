"""A rule compares one measure of a document with a limit; a preset is an ordered table of rules.

Measures are computed once a document in Rust (kernels.signals); rules decide afterwards, in order, and the first
that fails names the reject. A preset's name carries whose way of counting it follows: `gopher@dclm` is the Gopher
rules as DCLM counts them, because the systems agree on the numbers and differ in what they count.

A rule on lines cuts a line, or a part of one, and the document stays. A rule of one's own is written as what it keeps:
`digit_share <= 0.2`. It may compare a score that stands in a column of the documents, and have alternatives:
`quality_score >= 0.6 or column:edu_score >= 0.4` keeps what one of the two classifiers takes for good.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from curate import schema
from curate.config import suggest

Comparison = Literal[">=", "<=", ">", "<"]
COMPARE = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
_NAMES = {">=": "min", "<=": "max", ">": "above", "<": "below"}
_OWN = re.compile(r"\s*((?:column:)?\w+)\s*(>=|<=|>|<)\s*(\S+)\s*")
COLUMN = "column:"  # begins the measure that is a column of the documents
TOKENS = ("tokens_per_char", "tokens a character")  # the measure that takes a tokenizer, and its unit
SCORES = {
    field.name: (field.metadata or {}).get(b"unit", b"").decode()
    for field in schema.DOCUMENT
    if pa.types.is_floating(field.type) or field.type == pa.uint32()
}
"""Columns of every document that rules may compare by their name alone, and their units."""


@dataclass(frozen=True)
class Rule:
    """Keeps a document where `measure comparison limit` holds, or one of the `others`, its alternatives, does.

    A measure that begins with COLUMN is a column of the documents; a document without a value there is not kept by it.
    """

    name: str
    measure: str
    comparison: Comparison
    limit: float
    unit: str
    others: tuple["Rule", ...] = ()

    @property
    def parts(self) -> tuple["Rule", ...]:
        """The rule and its alternatives; each has a limit of its own."""
        return (self, *self.others)

    def limited(self, limits: Mapping[str, float]) -> "Rule":
        """The rule with other limits, by names of its parts."""
        others = tuple(other.limited(limits) for other in self.others)
        return replace(self, limit=limits.get(self.name, self.limit), others=others)

    def keeps(self, values: np.ndarray, limit: float | np.ndarray | None = None) -> np.ndarray:
        """Booleans: which values the rule keeps, by its own limit, another, or one a value; alternatives apart."""
        kept: np.ndarray = COMPARE[self.comparison](values, self.limit if limit is None else limit)
        return kept

    def spares(self, measures: Mapping[str, np.ndarray]) -> np.ndarray:
        """Booleans: which documents one of the alternatives keeps."""
        kept = [other.keeps(measures[other.measure]) for other in self.others]
        found: np.ndarray = np.any([np.zeros(len(measures[self.measure]), bool), *kept], axis=0)
        return found

    def fails(self, measures: Mapping[str, np.ndarray], limit: float | None = None) -> np.ndarray:
        """Booleans: which documents neither the rule keeps, by its own limit or another, nor an alternative."""
        failed: np.ndarray = ~self.keeps(measures[self.measure], limit) & ~self.spares(measures)
        return failed


@dataclass(frozen=True)
class LineRule:
    """Cuts lines, or a part of them; `rule` is its name in kernels.LINE_RULES. Without a limit it compares nothing."""

    name: str
    rule: str
    meaning: str
    limit: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Preset:
    """An ordered table of rules, and the rules on lines that are applied to what the table keeps."""

    name: str
    source: str  # where the limits and the way of counting come from
    rules: tuple[Rule, ...]
    lines: tuple[LineRule, ...] = ()
    words: str = ""  # how often its verdict differs with Unicode words from spaCy's, where it counts such words

    def names(self) -> list[str]:
        """Names of all its rules, those on lines first, as they are applied to lines before sentences are counted."""
        return [rule.name for rule in self.lines] + [rule.name for rule in self.rules]


def at_least(name: str, measure: str, limit: float, unit: str) -> Rule:
    """A rule that keeps measure >= limit."""
    return Rule(name, measure, ">=", limit, unit)


def at_most(name: str, measure: str, limit: float, unit: str) -> Rule:
    """A rule that keeps measure <= limit."""
    return Rule(name, measure, "<=", limit, unit)


def own_rule(text: str, units: dict[str, str]) -> Rule:
    """The rule that `digit_share <= 0.2` is; its name is own.digit_share_max. ` or ` stands between alternatives.

    `units` are those of all measures by name. ValueError where the text is no rule, or no measure has the name.
    """
    first, *others = (_comparison(part, text, units) for part in text.split(" or "))
    return replace(first, others=tuple(others))


def _comparison(part: str, text: str, units: dict[str, str]) -> Rule:
    """One alternative of the rule `text`."""
    found = _OWN.fullmatch(part)
    if not found:
        raise ValueError(f'"{text}" is no rule; write what it keeps as MEASURE >= LIMIT, with >=, <=, > or <')
    measure, comparison, limit = found.groups()
    name = measure.removeprefix(COLUMN)
    if name == measure and name not in units:
        if name not in SCORES:
            raise ValueError(
                f'"{text}": no measure is named "{name}" (a column of the documents is written {COLUMN}{name})'
                f"{suggest(name, [*units, *SCORES])}"
            )
        measure = COLUMN + name
    try:
        number = float(limit)
    except ValueError:
        raise ValueError(f'"{text}": the limit must be a number, found "{limit}"') from None
    if not np.isfinite(number):
        raise ValueError(f'"{text}": the limit must be a finite number')
    unit = SCORES.get(name, "") if measure.startswith(COLUMN) else units[measure]
    return Rule(f"own.{name}_{_NAMES[comparison]}", measure, comparison, number, unit)  # type: ignore[arg-type]
