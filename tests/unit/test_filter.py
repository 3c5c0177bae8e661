"""The filter stage: tables of rules, limits by language, own rules, rules on lines, and what each refuses."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers

from curate import kernels, schema
from curate.config import validate
from curate.errors import ConfigError, SchemaError
from curate.filters import english
from curate.filters.groups import read_groups
from curate.filters.presets import PRESETS, measure_units
from curate.filters.rules import own_rule
from curate.stages import filter as stage
from curate.stages.protocol import Applied
from parity import RULES, fifty, judge
from shards import tokenizer_of

ROOT = Path(__file__).resolve().parent.parent
PROSE = (
    "The old harbor of our island lies between two hills and a quiet forest. Every morning fishers carry silver nets"
    " down to wooden boats that wait beside stone walls. Children with paper kites follow them, because wind is strong"
    " there in early summer. When evening comes, lamps shine behind windows, people cook soup, and someone sings about"
    " ships which have never returned home."
)


class Paths:
    """Side files by name."""

    def __init__(self, **paths: Path) -> None:
        self.paths = paths

    def path(self, name: str) -> Path:
        return self.paths[name]


def batch(texts: list[str], columns: dict[str, list[Any]] | None = None) -> pa.RecordBatch:
    ids = pa.array([i.to_bytes(16) for i in range(len(texts))], schema.DOC_ID)
    return pa.RecordBatch.from_pydict({"doc_id": ids, "text": pa.array(texts, pa.large_string()), **(columns or {})})


def applied(texts: list[str], columns: dict[str, list[Any]] | None = None, **settings: Any) -> Applied:
    config: stage.Filter = validate(stage.Filter, settings, name="filter")
    side = Paths(**{name: Path(paths[0]) for name, paths in stage.STAGE.files(config).items() if paths})
    return stage.apply(batch(texts, columns), stage.State(config, side))  # type: ignore[arg-type]


def verdicts(found: Applied) -> list[tuple[Any, ...]]:
    assert found.verdicts is not None
    return [(row["rule"], row["value"], row["limit"]) if row["rule"] else (None,) for row in found.verdicts.to_pylist()]


def said(**settings: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        validate(stage.Filter, settings, name="filter")
    return str(refused.value)


# -- tables -------------------------------------------------------------------------------------------------------


def test_every_rule_of_every_preset_has_its_measure_and_unit() -> None:
    units = measure_units()
    for name, one in PRESETS.items():
        assert one.name == name and one.source and len(set(one.names())) == len(one.names())
        for rule in one.rules:
            assert rule.measure in units and rule.name.partition(".")[2]
            shared = {"share": "share", "words": "words", "characters": "characters"}.get(units[rule.measure], "")
            assert rule.unit.startswith(shared) or rule.unit in ("occurrences", "different words"), rule
        assert {rule.rule for rule in one.lines} <= set(kernels.LINE_RULES)


def cases(name: str) -> list[tuple[str, str, float | None, str | None]]:
    """(text, rule, value, text left) of each line of a table in tests/rules; {prose} stands for PROSE."""
    rows = []
    for line in (ROOT / "rules" / f"{name}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith('| "'):
            text, rule, value, left = (cell.strip() for cell in line.strip("|").split(" | "))
            full = json.loads(text).replace("{prose}", PROSE)
            kept = json.loads(left).replace("{prose}", PROSE) if left.strip('" ') else None
            rows.append((full, rule, float(value) if value else None, kept))
    assert rows, name
    return rows


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "rules").glob("*.md")))
def test_worked_cases(name: str) -> None:
    """What a tool documents, where it cannot be installed beside us."""
    rows = cases(name)
    found = applied([row[0] for row in rows], preset=name)
    texts = found.batch.column("text").to_pylist()
    for (text, rule, value, left), verdict, now in zip(rows, verdicts(found), texts, strict=True):
        assert (verdict[0] or "stays") == rule, (text, verdict)
        if value is not None:
            assert verdict[1] == pytest.approx(value, rel=1e-3), text
        assert now == (text if left is None else left)
    seen = {row[1] for row in rows}
    assert seen - {"stays"} <= {*PRESETS[name].names(), stage.EMPTY}


def test_the_first_rule_that_fails_names_the_reject() -> None:
    spam = "\n".join(["the same line of that and with have to be"] * 40)
    found = verdicts(applied([PROSE, "too short", spam, PROSE + " ...... ......" * 20]))
    assert found[0] == (None,)
    assert found[1] == ("gopher.min_words", 2.0, 50.0)
    assert found[2][0] == "gopher_repetition.duplicate_lines" and found[2][1] == 1.0
    assert found[3][0] == "gopher.symbols" and found[3][1] > 0.1
    lenient = applied(["too short"], limits={"gopher.min_words": 2}, without=["gopher.stop_words"])
    assert verdicts(lenient)[0] == (None,)


def test_signals_are_those_that_decided() -> None:
    found = applied([PROSE, "So it is. So it was not, then!"], preset="c4@datatrove", limits={"c4.line_min_words": 4})
    rows = found.emits["signals"].to_pylist()
    assert [row["c4_datatrove_n_sentences"] for row in rows] == [4, 2]
    assert set(rows[0]) == {"doc_id", *measure_units()} - {"tokens_per_char"}
    assert applied([PROSE], signals=False).emits == {}


def test_every_rule_is_watched_for_never_firing() -> None:
    """The guard names rules that never fired among those that the stage says it has, those on lines included."""
    settings = {"preset": ["gopher@dclm", "c4@tfds"], "rules": ["digit_share <= 1"], "without": ["c4.citations"]}
    config = validate(stage.Filter, settings, name="filter")
    rules = stage.STAGE.rules(config)
    names = {*PRESETS["gopher@dclm"].names(), *PRESETS["c4@tfds"].names(), "own.digit_share_max", stage.EMPTY}
    assert set(rules) == names - {"c4.citations"}
    assert stage.STAGE.limits(config)["c4.line_min_words"] == 5 and rules["c4.line_min_words"] == "words"
    assert stage.STAGE.presets(config) == "gopher@dclm, c4@tfds"
    told = stage.STAGE.remarks(validate(stage.Filter, {"preset": "gopher@datatrove"}, name="filter"))
    assert len(told) == 1 and "gopher@datatrove counts Unicode words here" in told[0]


# -- own rules, scores and groups --------------------------------------------------------------------------------------


def test_own_rules_keep_what_they_say() -> None:
    rules = ["n_words >= 3", "digit_share < 0.5", "n_words <= 5"]
    found = verdicts(applied(["one two", "1 2 34", "one two three", "a b c d e f"], preset=[], rules=rules))
    assert found == [("own.n_words_min", 2.0, 3.0), ("own.digit_share_below", pytest.approx(4 / 6), 0.5), (None,),
                     ("own.n_words_max", 6.0, 5.0)]  # fmt: skip
    assert own_rule("n_words > 2", {"n_words": "words"}).unit == "words"


def test_tokens_a_character_are_those_of_the_named_tokenizer(tmp_path: Path) -> None:
    """Text that the tokenizer cuts into small pieces goes; a text without a character has none."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(tokenizer_of([PROSE] * 3))
    texts = [
        PROSE,
        "qzxj9 " * 40,
        "",
        "word",
        "😀" * 400,
        "12345 67890 " * 30,
        "שלום עולם " * 30,
        "a\u0301\u200b",
        "\0\x1f",
    ]
    settings = {"preset": [], "rules": ["tokens_per_char <= 0.6"], "tokenizer": str(path)}
    found = applied(texts, **settings)
    judge_of = tokenizers.Tokenizer.from_file(str(path))
    expected = [len(judge_of.encode(text).ids) / max(1, len(text)) for text in texts]
    assert [row["tokens_per_char"] for row in found.emits["signals"].to_pylist()] == pytest.approx(expected)
    assert expected[0] < 0.6 < expected[1] and expected[2] == 0
    told = [(None,) if n <= 0.6 else ("own.tokens_per_char_max", pytest.approx(n), 0.6) for n in expected]
    assert verdicts(found) == told


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "gopher@dclmm"}, 'no preset is named "gopher@dclmm"; did you mean "gopher@dclm"?'),
        ({"limits": {"gopher.min_wrods": 3}}, 'has no rule "gopher.min_wrods"; did you mean "gopher.min_words"?'),
        ({"limits": {"gopher.min_words": "many"}}, "expected a number"),
        ({"rules": ["digit_shares <= 1"]}, 'written column:digit_shares); did you mean "digit_share"?'),
        ({"rules": ["digit_share <= much"]}, 'the limit must be a number, found "much"'),
        ({"rules": ["digit_share <= nan"]}, "the limit must be a finite number"),
        ({"rules": ["digit_share"]}, "is no rule; write what it keeps as MEASURE >= LIMIT"),
        ({"preset": [], "rules": []}, "no rule: name a preset"),
        ({"preset": ["gopher@dclm", "gopher@dolma"]}, 'two rules are named "gopher.min_words"'),
        ({"preset": ["c4@tfds", "refinedweb@dclm"]}, "c4@tfds and refinedweb@dclm both cut lines"),
        ({"preset": "c4@tfds", "limits": {"c4.line_policy": 1}}, "c4.line_policy compares nothing"),
        ({"words": "spacey"}, "words"),
        ({"rules": ["digit_share <= 1 or"]}, "is no rule"),
        ({"rules": ["quality_scor >= 1"]}, 'written column:quality_scor); did you mean "quality_score"?'),
        ({"rules": ["n_words >= 1 or n_words >= 2"]}, 'two rules are named "own.n_words_min"'),
        ({"rules": ["tokens_per_char <= 1"]}, "tokens_per_char takes a tokenizer: name a tokenizer.json"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    assert message in said(**settings)


def test_limits_and_stop_words_by_language(tmp_path: Path) -> None:
    french = "Le vieux port de notre ville est le plus beau de la côte et les bateaux y dorment. " * 4
    path = tmp_path / "groups.yaml"
    path.write_text(
        "fr:\n  stop_words: [le, la, de, et]\n  limits: {gopher.min_words: 60}\nde:\n  without: [gopher.stop_words]\n"
    )
    settings = {"preset": "gopher@datatrove", "groups": str(path)}
    german = "Der alte Hafen unserer Insel liegt ruhig zwischen zwei Hügeln am Wald hier oben. " * 5
    texts = [french, french, french[:250], german, german]
    found = verdicts(applied(texts, {"lang": ["fr", None, "fr", "de", "fr"]}, **settings))
    assert found[0] == (None,) and found[3] == (None,)
    assert found[1] == ("gopher.stop_words", 0.0, 2.0)
    assert found[2][0] == "gopher.min_words" and found[2][2] == 60
    assert found[4] == ("gopher.stop_words", 0.0, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fr: {limits: {gopher.min_word: 3}}", 'groups.yaml:1: fr: no rule of the step is named "gopher.min_word"'),
        ("fr: {limit: {}}", 'fr.limit: no such setting; did you mean "limits"?'),
        ("fr: {stop_words: []}", "fr: stop_words is empty"),
        ("fr: {}", "fr: says nothing"),
        ("[]", "a file of groups holds"),
    ],
)
def test_a_wrong_file_of_groups_is_told_before_the_run(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text(text)
    assert message in said(groups=str(path))
    with pytest.raises(ConfigError, match="cuts lines, and does so in the same way in all documents"):
        path.write_text("fr: {limits: {c4.line_min_words: 3}}")
        read_groups(path, [], ["c4.line_min_words"])


def test_scores_and_measures_decide_together_by_thresholds_of_a_label(tmp_path: Path) -> None:
    """One of two classifiers is enough; science may be harder to read; a reject says what all parts compared."""
    path = tmp_path / "topics.yaml"
    path.write_text("science:\n  limits: {own.readability_eflaw_max: 90, own.edu_score_min: 0.2}\n")
    rules = ["quality_score >= 0.6 or column:edu_score >= 0.4", "readability_eflaw <= 20"]
    hard = "Thermodynamic equilibrium " * 25 + "holds."
    texts, columns = [PROSE, PROSE, PROSE, PROSE, hard, hard, PROSE], {
        "quality_score": [0.7, 0.1, 0.1, 0.1, 0.9, 0.9, None],
        "edu_score": [0.0, 0.5, 0.3, 0.3, 0.0, 0.0, None],
        "topic": ["news", "news", "news", "science", "news", "science", "science"],
    }  # fmt: skip
    settings = {"preset": [], "rules": rules, "by": "topic", "groups": str(path)}
    found = applied(texts, columns, **settings)
    score, easy = ("own.quality_score_min", 0.1, 0.6), ("own.readability_eflaw_max", 51.0, 20.0)
    missing = ("own.quality_score_min", None, 0.6)
    assert verdicts(found) == [(None,), (None,), score, (None,), easy, (None,), missing]
    assert found.verdicts is not None
    details = [row["detail"] for row in found.verdicts.to_pylist()]
    assert details[2] == "nor column:edu_score 0.3 >= 0.4" and details[4] is None
    assert found.emits["signals"].to_pylist()[6]["column:quality_score"] is None
    lower = verdicts(applied(texts, columns, **settings, limits={"own.quality_score_min": 0.05}))
    assert lower[2] == (None,)
    config = validate(stage.Filter, settings, name="filter")
    assert list(stage.STAGE.needs(config)) == ["text", "topic", "quality_score", "edu_score"]
    with pytest.raises(SchemaError, match="the column topic is string, no number"):
        applied(texts, columns, preset=[], rules=["column:topic >= 1"])


# -- rules on lines -----------------------------------------------------------------------------------------------


def test_lines_are_cut_and_their_spans_recorded() -> None:
    page = f"Menu\n{PROSE}\nWe use cookies to make this site work well.\nA second paragraph[2] of it ends here.\nShare"
    found = applied([page, "{prose}"], preset="c4@tfds")
    assert found.batch.column("text").to_pylist() == [f"{PROSE}\nA second paragraph of it ends here.", "{prose}"]
    assert verdicts(found) == [(None,), ("c4.min_sentences", 0.0, 3.0)]
    assert found.marks is not None
    encoded = page.encode()
    spans = [(row["rule"], encoded[row["span_start"] : row["span_end"]].decode()) for row in found.marks.to_pylist()]
    policy = ("c4.line_policy", "We use cookies to make this site work well.\n")
    menu, share = ("c4.line_end_mark", "Menu\n"), ("c4.line_end_mark", "Share")
    assert spans == [menu, policy, ("c4.citations", "[2]"), share]
    assert {row["row"] for row in found.marks.to_pylist()} == {0}  # what a dropped document lost is not listed


def test_a_document_without_a_line_left_is_dropped() -> None:
    found = applied(["SHOUTING ONLY"], preset="refinedweb@dclm", limits={"refinedweb.removed_words": 1})
    assert verdicts(found) == [("filter.no_line_left", 0.0, 1.0)]
    assert found.batch.column("text").to_pylist() == ["SHOUTING ONLY"]


# -- awkward texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_awkward_texts_have_defined_values(name: str) -> None:
    texts = ["", " \n\t", "word", "😀" * 400, "12345 67890 " * 30, "שלום עולם " * 30, "a\u0301\u200b", "\x00\x1f", "#"]
    columns = kernels.signals(pa.array(texts, pa.large_string()))
    for place in range(columns.type.num_fields):
        assert np.isfinite(columns.field(place).to_numpy()).all(), columns.type.field(place).name
    found = verdicts(applied(texts, preset=name))
    assert found[0][0] is not None, "an empty text passes no preset"


def test_one_line_of_fifty_megabytes_takes_linear_time() -> None:
    import time

    texts = ["x" * 50_000_000, "a b. " * 2_000_000]
    began = time.process_time()
    rules = verdicts(applied(texts, preset=["gopher@datatrove", "c4@datatrove"], signals=False))
    assert time.process_time() - began < 10
    assert [rule for rule, *_ in rules] == ["gopher.min_words", "gopher.max_words"]


# -- beside datatrove ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RULES))
def test_verdicts_of_datatrove_on_fifty_documents(name: str) -> None:
    """rules/datatrove.json has what datatrove 0.10.1 said (written by test_datatrove.py), and of what documents.

    Where spaCy is installed its words are counted, and all verdicts are datatrove's; else Unicode words, and those
    documents are left out where these give another verdict.
    """
    table = json.loads((ROOT / "rules" / "datatrove.json").read_text(encoding="utf-8"))
    texts = fifty()
    assert hashlib.sha256("\0".join(texts).encode()).hexdigest() == table["texts_sha256"]
    spacy = spacy_is_there()
    ours, left = judge(texts, name, words="spacy" if spacy else "unicode")
    expected = [{"": "", **RULES[name]}[rule] for rule in table["verdicts"][name]]
    rows = [i for i in range(len(texts)) if spacy or i not in table["other_by_unicode_words"][name]]
    assert [ours[i] for i in rows] == [expected[i] for i in rows] and len(rows) >= 40
    if name == "c4@datatrove":
        stay = [i for i in rows if not ours[i]]
        digests = [hashlib.sha256(left[i].encode()).hexdigest()[:16] for i in stay]
        assert digests == [table["left_sha256"][i] for i in stay]


def spacy_is_there() -> bool:
    try:
        english.check()
    except ConfigError:
        return False
    return True
