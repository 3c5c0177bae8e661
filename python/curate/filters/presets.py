"""The presets there are, by name."""

from collections.abc import Sequence

from curate import kernels
from curate.config import suggest
from curate.filters import c4, fineweb, gopher, refinedweb
from curate.filters.rules import TOKENS, LineRule, Preset, Rule, own_rule

PRESETS = {
    found.name: found
    for found in (
        gopher.DCLM, gopher.DATATROVE, gopher.DOLMA, gopher.REPETITION_DCLM, gopher.REPETITION_DATATROVE,
        c4.TFDS, c4.DATATROVE, fineweb.DATATROVE, refinedweb.DCLM,
    )
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of that name; ValueError with the nearest known one where there is none."""
    if name not in PRESETS:
        raise ValueError(f'no preset is named "{name}"{suggest(name, list(PRESETS))}')
    return PRESETS[name]


def measure_units() -> dict[str, str]:
    """The unit of every measure, by name."""
    return {name: unit for name, unit, _ in kernels.measures()} | dict([TOKENS])


def table(presets: Sequence[str], rules: Sequence[str]) -> tuple[list[LineRule], list[Rule]]:
    """The rules on lines and the rules of these presets, in their order, then the user's own.

    ValueError where a preset or a rule is none, two rules have one name, or two presets cut lines: the second would
    judge lines that the first has cut.
    """
    found = [preset(name) for name in presets]
    cutting = [one.name for one in found if one.lines]
    if len(cutting) > 1:
        raise ValueError(f"{cutting[0]} and {cutting[1]} both cut lines; put them into two filter steps")
    units = measure_units()
    made = [rule for one in found for rule in one.rules] + [own_rule(text, units) for text in rules]
    names = [part.name for rule in made for part in rule.parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(f'two rules are named "{twice}"; put the presets, or the rules, into two filter steps')
    return [rule for one in found for rule in one.lines], made
