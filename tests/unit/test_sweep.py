"""Sweeping limits: the same counts as filtering again, whatever the grid; what the command shows."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from curate import schema
from curate.cli import cli
from curate.errors import ConfigError
from curate.filters.rules import Comparison, Rule
from curate.filters.sweep import Axis, Sweep, parse_axis
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import single_stage
from inline import Inline

RULES = [(Rule("a.x", "x", ">=", 3, "words"), 3.0), (Rule("a.y", "y", "<=", 5, "share"), 5.0),
         (Rule("a.z", "z", ">", 1, "words"), 1.0)]  # fmt: skip
numbers = st.lists(st.tuples(*[st.integers(0, 8)] * 3), min_size=1, max_size=40)
limits = st.lists(st.integers(-1, 9), min_size=1, max_size=4, unique=True).map(
    lambda found: tuple(map(float, sorted(found)))
)


def ids(n: int) -> pa.Array:
    return pa.array([i.to_bytes(16) for i in range(n)], schema.DOC_ID)


@settings(deadline=None, max_examples=50)
@given(numbers, limits, limits, st.sampled_from([">=", "<=", ">", "<"]))
def test_a_grid_counts_what_filtering_again_would(
    rows: list[tuple[int, ...]], first: tuple[float, ...], second: tuple[float, ...], comparison: Comparison
) -> None:
    """One of the rules has an alternative; eights stand for documents without the measure."""
    other = (Rule("a.w", "z", ">=", 7, "words"),)
    rules = [(Rule("a.x", "x", comparison, 3, "words", other), 3.0), *RULES[1:]]
    axes = [Axis(rules[0][0], 3.0, first), Axis(rules[1][0], 5.0, second)]
    table = {name: np.array([row[place] for row in rows], float) for place, name in enumerate("xyz")}
    table["x"][table["x"] == 8] = np.nan
    sweep = Sweep(rules, axes)
    half = len(rows) // 2
    for part in (slice(None, half), slice(half, None)):
        sweep.add(ids(len(rows))[part], {name: values[part] for name, values in table.items()})

    def kept(x: float, y: float) -> set[int]:
        given_limits = (x, y, 1.0)
        passes = [~rule.fails(table, limit) for (rule, _), limit in zip(rules, given_limits, strict=True)]
        return {*np.flatnonzero(np.all(passes, axis=0)).tolist()}

    now = kept(3, 5)
    assert (sweep.documents, sweep.kept) == (len(rows), len(now))
    for cell, (x, y) in zip(sweep.cells(), itertools.product(first, second), strict=True):
        assert cell.limits == {"a.x": x, "a.y": y}
        there = kept(x, y)
        assert (cell.kept, cell.enter, cell.leave) == (len(there), len(there - now), len(now - there))
        shown = {int(identity, 16) for identity in cell.entering}
        assert shown == set(sorted(there - now)[:10])
    for near in sweep.nearest():
        values = {name: table[name][[int(near.doc_id, 16)]] for name in "xyz"}
        others = [not rule.fails(values, limit)[0] for rule, limit in rules if rule.name != near.rule]
        assert all(others) and near.kept == (int(near.doc_id, 16) in now)


def test_shares_of_rules() -> None:
    sweep = Sweep(RULES, [])
    sweep.add(ids(4), {"x": np.array([1.0, 1, 5, 5]), "y": np.array([9.0, 1, 9, 1]), "z": np.array([2.0, 2, 2, 2])})
    assert [(one.fails, one.first, one.alone) for one in sweep.shares()] == [(2, 2, 1), (2, 1, 1), (0, 0, 0)]


def test_the_form_of_limits() -> None:
    axis = parse_axis("a.x=0.1:0.4:0.1", RULES)
    assert axis.limits == (0.1, 0.2, 0.3, 0.4) and axis.limit == 3
    assert parse_axis("a.x=5,1,1", RULES).limits == (1, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.x", "expected RULE=LIMIT,LIMIT"),
        ("a.xx=1", 'no rule is named "a.xx"; did you mean "a.x"?'),
        ("a.x=much", "a limit must be a number"),
        ("a.x=inf", "a limit must be a finite number"),
        ("a.x=1:2", "write FROM:TO:STEP"),
        ("a.x=2:1:1", "FROM not above TO"),
        ("a.x=0:1:1e-9", "limits, more than 10,000"),
        ("c.line=3", "the rule cuts lines"),
    ],
)
def test_wrong_limits_are_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        parse_axis(text, RULES, ["c.line"])


def test_too_many_cells_and_a_rule_twice() -> None:
    axis = Axis(RULES[0][0], 3.0, tuple(map(float, range(200))))
    with pytest.raises(ConfigError, match="40,000 cells"):
        Sweep(RULES, [axis, Axis(RULES[1][0], 3.0, axis.limits)])
    with pytest.raises(ConfigError, match=r"a\.x is varied twice"):
        Sweep(RULES, [axis, axis])


def filtered(folder: Path, texts: list[str], **settings: Any) -> Path:
    """The folder of a run of the filter over these texts."""
    corpus.write_jsonl(
        folder / "docs.jsonl", [{"text": text, "url": f"https://e.test/{i}"} for i, text in enumerate(texts)]
    )
    recipe = single_stage("filter", settings, [InputSettings(path=str(folder / "docs.jsonl"))], guard="off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "open_executor", lambda *_: Inline())
        assert driver.run(recipe, folder / "run").exit_code == 0
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over 40 documents of which a quarter is short, and one holds markup."""
    texts = [" ".join(text.split()[: 45 if i % 4 == 0 else None]) for i, text in enumerate(corpus.articles(40, seed=3))]
    texts[1] = f"<script>alert(1)</script> {texts[1]}"
    return filtered(tmp_path_factory.mktemp("sweep"), texts, preset="gopher@dclm")


def curate(*arguments: object) -> str:
    """What the command prints; its error is raised."""
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False).output


def test_the_command_shows_what_would_move(run: Path, tmp_path: Path) -> None:
    page, moved = tmp_path / "p.html", tmp_path / "m.parquet"
    facts = json.loads(
        curate("sweep", run, "--vary", "gopher.min_words=5,50,5000", "--json", "--plot", page, "--moved", moved)
    )
    assert (facts["documents"], facts["kept"]) == (40, 30)
    assert [(cell["kept"], cell["enter"], cell["leave"]) for cell in facts["cells"]] == [
        (40, 10, 0),
        (30, 0, 0),
        (0, 0, 30),
    ]
    assert len(facts["cells"][0]["entering"]) == 10 and facts["cells"][0]["share"] == 1
    kept = [sample for sample in facts["samples"] if sample["kept"]]
    assert len(facts["samples"]) == 10 and len(kept) == 5 and all(sample["text"] for sample in facts["samples"])
    table = pq.read_table(moved).to_pydict()
    assert [table["move"].count(move) for move in ("enters", "leaves")] == [10, 30]
    html = page.read_text()
    assert "<svg" in html and "default-src 'none'" in html and "<script" not in html
    shown = curate("sweep", run, "--vary", "gopher.min_words=5,50")
    assert "30 of 40 documents stay (75.00%)" in shown and "enter" in shown


def test_without_limits_the_command_shows_what_each_rule_drops(run: Path) -> None:
    lines = {line.split()[0]: line.split()[1:] for line in curate("sweep", run).splitlines() if line}
    assert lines["gopher.min_words"] == ["50", "10", "10", "10"]
    facts = json.loads(curate("sweep", run, "--preset", "gopher-repetition@dclm", "--json"))
    assert {one["rule"].partition(".")[0] for one in facts["rules"]} == {"gopher_repetition"}


def test_a_run_without_measures_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wrote no measures; run it with `signals: true`"):
        curate("sweep", filtered(tmp_path, ["some words of it"], signals=False))


def test_presets_are_shown_with_units_and_sources() -> None:
    shown = curate("presets")
    for name in ("gopher@dclm", "gopher-repetition@datatrove", "c4@tfds", "fineweb@datatrove", "refinedweb@dclm"):
        assert name in shown
    one = curate("presets", "c4@tfds")
    assert "c4.line_min_words cuts where the line has fewer words: 5 words" in one and "c4.min_sentences" in one
    facts = json.loads(curate("presets", "gopher@dolma", "--json"))["presets"][0]
    assert facts["rules"][0] == {"rule": "gopher.min_words", "keeps": "n_space_words >= 50", "measure": "n_space_words",
                                 "comparison": ">=", "limit": 50, "unit": "words"}  # fmt: skip
    with pytest.raises(ConfigError, match='did you mean "gopher@dolma"'):
        curate("presets", "gopher@dolmaa")
