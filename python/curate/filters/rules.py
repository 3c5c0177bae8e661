"""A rule compares one measure of a document with a limit; a preset is an ordered table of rules.

Measures are computed once a document in Rust (kernels.signals); rules decide afterwards, in order, and the first
that fails names the reject. A preset's name carries whose way of counting it follows: `gopher@dclm` is the Gopher
rules as DCLM counts them, because the systems agree on the numbers and differ in what they count.

A rule on lines cuts a line, or a part of one, and the document stays. A rule of one's own is written as what it keeps:
`digit_share <= 0.2`.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.config import suggest

Comparison = Literal[">=", "<=", ">", "<"]
COMPARE = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
_NAMES = {">=": "min", "<=": "max", ">": "above", "<": "below"}
_OWN = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Rule:
    """Keeps a document where `measure comparison limit` holds."""

    name: str
    measure: str
    comparison: Comparison
    limit: float
    unit: str

    def keeps(self, values: np.ndarray, limit: float | np.ndarray | None = None) -> np.ndarray:
        """Booleans: which values the rule keeps, by its own limit, another, or one a value."""
        kept: np.ndarray = COMPARE[self.comparison](values, self.limit if limit is None else limit)
        return kept


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
    """The rule that `digit_share <= 0.2` is; its name is own.digit_share_max.

    `units` are those of all measures by name. ValueError where the text is no rule, or no measure has the name.
    """
    found = _OWN.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is no rule; write what it keeps as MEASURE >= LIMIT, with >=, <=, > or <')
    measure, comparison, limit = found.groups()
    if measure not in units:
        raise ValueError(f'"{text}": no measure is named "{measure}"{suggest(measure, list(units))}')
    try:
        number = float(limit)
    except ValueError:
        raise ValueError(f'"{text}": the limit must be a number, found "{limit}"') from None
    if not np.isfinite(number):
        raise ValueError(f'"{text}": the limit must be a finite number')
    return Rule(f"own.{measure}_{_NAMES[comparison]}", measure, comparison, number, units[measure])  # type: ignore[arg-type]
