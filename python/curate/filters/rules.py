"""A rule compares one measure of a document with a limit; a preset is an ordered table of rules.

Measures are computed once a document in Rust (kernels.signals); rules decide afterwards, in order, and the first
that fails names the reject. A preset's name carries whose way of counting it follows: `gopher@dclm` is the Gopher
rules as DCLM counts them, because the systems agree on the numbers and differ in what they count.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """`min` keeps measure >= limit, `max` keeps measure <= limit."""

    name: str
    measure: str
    bound: Literal["min", "max"]
    limit: float
    unit: str


@dataclass(frozen=True)
class Preset:
    name: str
    source: str  # where the limits and the way of counting come from
    rules: tuple[Rule, ...]
