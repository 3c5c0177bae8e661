"""filter: heuristic quality rules, measured once and decided by tables of limits.

The rules of the presets are tried in order, then those of `rules`. The first that fails drops the document; its reject
has the rule, the value and the limit. Limits can be changed one by one (`limits: {gopher.min_words: 30}`) and rules
left out (`without: [gopher.stop_words]`). A rule name that no preset has is an error, since it would change nothing.
`curate presets` shows the tables.

All presets of a step judge the same text. One of them may have rules on lines: these cut lines out of the documents
that stay, and each cut is recorded with its span. Lines are judged before the document's sentences are counted.
FineWeb's order, where FineWeb's own rules see what C4's leave:

    - filter:
        preset: [gopher-repetition@datatrove, gopher@datatrove, c4@datatrove]
        without: [c4.line_end_mark]
    - filter: {preset: fineweb@datatrove}

`rules` are the user's own, each written as what it keeps: `digit_share <= 0.2`. `languages` names a YAML file with
other limits and stop words by language. `words: spacy` counts, in presets that follow datatrove, the words of the
installed spaCy, which is exact and takes five times as long.

The measures of every document are written to signals/, so that other limits can be tried (`curate sweep`) without
reading the text again.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator, model_validator

from curate import kernels, schema
from curate.config import Settings, setting, suggest
from curate.errors import ConfigError
from curate.filters import english
from curate.filters.languages import Language, read_languages
from curate.filters.presets import PRESETS, preset, table
from curate.filters.rules import LineRule, Rule
from curate.stages.protocol import Applied, Channel, Phase, Resources, Side, Stage, with_column, with_verdicts

SPACY_BYTES = 100_000_000  # spaCy imported, its patterns compiled, and a full memo of chunks
EMPTY = "filter.no_line_left"  # the rule that drops a document of which no line is left
# The measures that rules on lines decide, by the preset that has them: name in kernels.Cuts -> measure.
_OF_LINES = {
    "c4@tfds": {name: f"c4_tfds_{name}" for name in ("n_sentences", "lorem_ipsum", "curly_bracket")},
    "c4@datatrove": {name: f"c4_datatrove_{name}" for name in ("n_sentences", "lorem_ipsum", "curly_bracket")},
    "refinedweb@dclm": {"removed_word_share": "refinedweb_removed_word_share"},
}


class Filter(Settings):
    """The presets, and how this run differs from them. An unknown preset, rule or measure is refused."""

    preset: list[str] = setting(
        ["gopher@dclm", "gopher-repetition@dclm"], "tables of rules; the part after @ says whose way of counting"
    )
    limits: dict[str, float] = setting({}, "other limits than the presets', by rule name")
    without: list[str] = setting([], "rules of the presets to leave out")
    rules: list[str] = setting([], 'own rules, each as what it keeps: "digit_share <= 0.2"')
    languages: str | None = setting(None, "YAML file of other limits and stop words by language", min_length=1)
    words: Literal["unicode", "spacy"] = setting(
        "unicode", "words of presets that follow datatrove: Unicode words, or those of the installed spaCy"
    )
    signals: bool = setting(True, "write every measure of every document to signals/")

    @field_validator("preset", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_rules(self) -> "Filter":
        lines, rules = table(self.preset, self.rules)
        if not rules:
            raise ValueError(f"no rule: name a preset ({', '.join(PRESETS)}), or write rules")
        names = [rule.name for rule in lines] + [rule.name for rule in rules]
        for key in (*self.limits, *self.without):
            if key not in names:
                raise ValueError(f'{", ".join(self.preset)} has no rule "{key}"{suggest(key, names)}')
        for line in lines:
            if line.limit is None and line.name in self.limits:
                raise ValueError(f"{line.name} compares nothing, so that it has no limit; leave it out with `without`")
        try:
            if self.languages and Path(self.languages).is_file():
                _languages(self, self.languages)
            if self.words == "spacy":
                english.check()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


def rules_of(config: Filter) -> list[tuple[Rule, float]]:
    """(rule, limit) in order, with changed limits and without the rules left out."""
    _, rules = table(config.preset, config.rules)
    return [(rule, config.limits.get(rule.name, rule.limit)) for rule in rules if rule.name not in config.without]


def lines_of(config: Filter) -> list[tuple[LineRule, float | None]]:
    """(rule on lines, limit) as above."""
    lines, _ = table(config.preset, config.rules)
    return [(rule, config.limits.get(rule.name, rule.limit)) for rule in lines if rule.name not in config.without]


class State:
    """The rules of a run with their limits, resolved once a worker."""

    def __init__(self, config: Filter, side: Side) -> None:
        self.config = config
        self.rules = rules_of(config)
        self.lines = lines_of(config)
        self.cutting = next((name for name in config.preset if preset(name).lines), None)
        self.english = english.load() if config.words == "spacy" else None
        self.languages: dict[str, Language] = {}
        if config.languages:
            self.languages = _languages(config, side.path("languages"))
        self.lists = [language.stop_words for language in self.languages.values() if language.stop_words]

    def language_of(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        """Which rows are of each language that has limits of its own; languages without rows are left out."""
        if not self.languages:
            return {}
        langs = batch.column("lang").cast(pa.string())
        rows = {lang: pc.fill_null(pc.equal(langs, lang), False) for lang in self.languages}
        masks = {lang: mask.to_numpy(zero_copy_only=False) for lang, mask in rows.items()}
        return {lang: mask for lang, mask in masks.items() if mask.any()}

    def stop_lists(self, rows: int, languages: dict[str, np.ndarray]) -> pa.Array | None:
        """The number of each row's list of stop words, 0 for Gopher's."""
        if not self.lists:
            return None
        numbers = np.zeros(rows, np.uint32)
        listed = [lang for lang, language in self.languages.items() if language.stop_words]
        for number, lang in enumerate(listed, 1):
            if lang in languages:
                numbers[languages[lang]] = number
        return pa.array(numbers)


def _languages(config: Filter, path: Path | str) -> dict[str, Language]:
    return read_languages(path, [rule for rule, _ in rules_of(config)], [rule.name for rule, _ in lines_of(config)])


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Drops the rows that fail a rule and cuts lines of the others. With `signals`, emits every measure of all rows."""
    languages = state.language_of(batch)
    lists = state.stop_lists(batch.num_rows, languages)
    signals = kernels.signals(batch.column("text"), stop_words=state.lists, list_of=lists, english=state.english)
    columns = {field.name: signals.field(place) for place, field in enumerate(signals.type)}
    cuts = cut(batch, state) if state.cutting else None
    if cuts and state.cutting:
        columns |= {measure: getattr(cuts, name) for name, measure in _OF_LINES[state.cutting].items()}
    chosen, values, limits = judge({name: c.to_numpy() for name, c in columns.items()}, state, languages)
    emits = {}
    if state.config.signals:
        emits["signals"] = pa.RecordBatch.from_pydict({"doc_id": batch.column("doc_id"), **columns})
    if cuts is None:
        return with_verdicts(batch, chosen, values, limits, emits=emits)
    lengths = pc.binary_length(cuts.text).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths == 0):
        if chosen[row] is None:
            chosen[row], values[row], limits[row] = EMPTY, 0.0, 1.0
    stays = np.array([rule is None for rule in chosen], bool)
    left = pc.if_else(pa.array(stays), cuts.text, batch.column("text"))
    return with_verdicts(
        with_column(batch, "text", left), chosen, values, limits, emits=emits, marks=_marks(cuts, stays, state)
    )


def cut(batch: pa.RecordBatch, state: State) -> kernels.Cuts:
    """The rules on lines, applied to all rows."""
    kept = {rule.name for rule, _ in state.rules}
    return kernels.cut_lines(
        batch.column("text"),
        whose=str(state.cutting),
        limits={rule.rule: 0.0 if limit is None else limit for rule, limit in state.lines},
        lorem_ipsum="c4.lorem_ipsum" in kept,
        curly_bracket="c4.curly_bracket" in kept,
        english=state.english,
    )


def judge(
    columns: dict[str, np.ndarray], state: State, languages: dict[str, np.ndarray]
) -> tuple[list[str | None], list[float | None], list[float | None]]:
    """(rule, value, limit) of the first rule that each row fails; None where it stays."""
    n = len(next(iter(columns.values())))
    chosen: list[str | None] = [None] * n
    values: list[float | None] = [None] * n
    limits: list[float | None] = [None] * n
    decided = np.zeros(n, bool)
    for rule, limit in state.rules:
        measure = columns[rule.measure]
        of_row = np.full(n, limit, float)
        exempt = np.zeros(n, bool)
        for lang, rows in languages.items():
            of_row[rows] = state.languages[lang].limits.get(rule.name, limit)
            exempt[rows] = rule.name in state.languages[lang].without
        fails = ~rule.keeps(measure, of_row) & ~exempt
        for row in np.flatnonzero(fails & ~decided):
            chosen[row], values[row], limits[row] = rule.name, float(measure[row]), float(of_row[row])
        decided |= fails
    return chosen, values, limits


def _marks(cuts: kernels.Cuts, stays: np.ndarray, state: State) -> pa.RecordBatch:
    """MARK rows of what was cut from the rows that stay; the lines of dropped documents left with them."""
    mine = pa.array(stays[cuts.row.to_numpy()])
    row, start, end, kernel_rule, value = (column.filter(mine) for column in cuts[1:6])
    names = {rule.rule: rule.name for rule, _ in state.lines}
    of = {rule.rule: limit for rule, limit in state.lines}
    said = kernel_rule.to_pylist()
    rules = [names[rule] for rule in said]
    return schema.marks(row, "cut", rules, start, end, value, [of[rule] for rule in said])


def _remarks(config: Filter) -> list[str]:
    """Where Unicode words are counted in place of those that a preset is named after."""
    return [
        f"filter: {name} counts Unicode words here, where datatrove counts spaCy's; its verdict differs"
        f" {preset(name).words}. words: spacy counts those."
        for name in config.preset
        if preset(name).words and config.words == "unicode"
    ]


def _units(config: Filter) -> dict[str, str]:
    cuts = {rule.name: rule.unit for rule, _ in lines_of(config)}
    empty = {EMPTY: "characters"} if cuts else {}
    return {**cuts, **{rule.name: rule.unit for rule, _ in rules_of(config)}, **empty}


STAGE = Stage(
    name="filter",
    version=2,
    summary="Heuristic quality rules, by preset.",
    config=Filter,
    needs=lambda config: ("text", "lang") if config.languages else ("text",),
    presets=lambda config: ", ".join(config.preset) or None,
    expected=lambda config: (0.02, 1.0),
    files=lambda config: {"languages": [config.languages] if config.languages else []},
    libraries=lambda config: ["spacy"] if config.words == "spacy" else [],
    resources=lambda config: Resources(state_bytes=SPACY_BYTES if config.words == "spacy" else 0),
    remarks=_remarks,
    rules=_units,
    limits=lambda config: {
        **{rule.name: limit for rule, limit in lines_of(config) if limit is not None},
        **{rule.name: limit for rule, limit in rules_of(config)},
    },
    phases=(
        Phase(
            "apply",
            "each",
            open=State,
            apply=apply,
            side=("languages",),
            emits=(Channel("signals", path="signals/{step}-{task}.parquet"),),
        ),
    ),
)
