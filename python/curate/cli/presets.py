"""`curate presets`: the tables of rules that the filter stage knows, with units and sources."""

from typing import TYPE_CHECKING, Any

import click

from curate import console
from curate.cli.options import AS_JSON, CONTEXT, print_json
from curate.errors import ConfigError

if TYPE_CHECKING:
    from curate.filters.rules import Preset


@click.command(context_settings=CONTEXT)
@click.argument("name", required=False)
@click.option("--measures", is_flag=True, help="List every measure with its unit and definition.")
@AS_JSON
def presets(name: str | None, measures: bool, as_json: bool) -> None:
    """Show the tables of rules that filter knows.

    NAME: one of them, gopher@dclm for example; without it all are listed.
    """
    from curate import kernels
    from curate.filters.presets import PRESETS, preset

    try:
        chosen = [preset(name)] if name else list(PRESETS.values())
    except ValueError as error:
        raise ConfigError(str(error)) from None
    defined = [{"measure": measure, "unit": unit, "definition": text} for measure, unit, text in kernels.measures()]
    if as_json:
        print_json({"presets": [_facts(one) for one in chosen], **({"measures": defined} if measures else {})})
        return
    if measures:
        for one in defined:
            console.out(console.wrap(f"{one['measure']} ({one['unit']}): {one['definition']}"))
    elif name:
        console.out(_table(chosen[0]))
        used = {rule.measure for rule in chosen[0].rules}
        console.out()
        for one in defined:
            if one["measure"] in used:
                console.out(console.wrap(f"{one['measure']}: {one['definition']}"))
    else:
        console.out("\n\n".join(map(_table, chosen)))


def _facts(one: "Preset") -> dict[str, Any]:
    """A preset as data."""
    return {
        "preset": one.name,
        "source": one.source,
        "lines": [{"rule": r.name, "cuts": r.meaning, "limit": r.limit, "unit": r.unit} for r in one.lines],
        "rules": [
            {"rule": r.name, "keeps": f"{r.measure} {r.comparison} {r.limit:g}", "measure": r.measure,
             "comparison": r.comparison, "limit": r.limit, "unit": r.unit}
            for r in one.rules
        ],
    }  # fmt: skip


def _table(one: "Preset") -> str:
    """Its source, the rules on lines as what they cut, and the others as what they keep."""
    parts = [console.wrap(f"{one.name}  ({one.source})")]
    if one.words:
        parts.append(
            console.wrap(f"  With words: unicode its verdict differs from that with words: spacy {one.words}.")
        )
    for rule in one.lines:
        limit = "" if rule.limit is None else f": {rule.limit:g} {rule.unit}"
        parts.append(console.wrap(f"  {rule.name} cuts where {rule.meaning}{limit}"))
    rows = [
        [f"  {rule.name}", f"{rule.measure} {rule.comparison}", f"{rule.limit:,g}", rule.unit] for rule in one.rules
    ]
    parts.append(console.table(["  rule", "keeps", "limit", "unit"], rows, left=2))
    return "\n".join(parts)
