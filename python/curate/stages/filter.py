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

`rules` are the user's own, each written as what it keeps: `digit_share <= 0.2`. Scores in columns of the documents can
be compared, too, those of our own stages by name and others as column:NAME; a document without a value there fails.
` or ` stands between alternatives, of which one is enough. `groups` names a YAML file with other limits and stop words
by language, or by the column `by`. So scores, readability and tokens a character decide together, by thresholds that a
label has of its own:

    - filter:
        preset: []
        rules:
          - quality_score >= 0.6 or column:edu_score >= 0.4
          - readability_eflaw <= 30
          - tokens_per_char <= 0.35
        tokenizer: tokenizer.json
        by: topic
        groups: topics.yaml

Here topics.yaml may say `science: {limits: {own.readability_eflaw_max: 45}}`, where `label` wrote the column topic.

`words: spacy` counts, in presets that follow datatrove, the words of the installed spaCy, which is exact and takes
two to three times as long.

The measures of every document are written to signals/, so that other limits can be tried (`curate sweep`) without
reading the text again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator, model_validator

from curate import kernels, schema
from curate.config import Settings, setting, suggest
from curate.errors import ConfigError, DataError, SchemaError
from curate.filters import english
from curate.filters.groups import Group, read_groups
from curate.filters.presets import PRESETS, preset, table
from curate.filters.rules import COLUMN, TOKENS, LineRule, Rule
from curate.stages.protocol import Applied, Channel, Phase, Resources, Side, Stage, with_column, with_verdicts
from curate.tokenizer.model import Encoder, open_encoder

SPACY_BYTES = 120_000_000  # spaCy imported, its patterns compiled, and a full memo of chunks
TOKENIZER_BYTES = 64_000_000  # an opened tokenizer of 100,000 tokens with its cache
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
    rules: list[str] = setting(
        [], 'own rules, each as what it keeps: "digit_share <= 0.2"; " or " between alternatives'
    )
    groups: str | None = setting(None, "YAML file of other limits and stop words by language or label", min_length=1)
    by: str = setting("lang", "column whose values the file of groups has", min_length=1)
    tokenizer: str | None = setting(None, f"a tokenizer.json, for the measure {TOKENS[0]}", min_length=1)
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
        limited = [*names, *(other.name for rule in rules for other in rule.others)]
        for keys, known in ((self.limits, limited), (self.without, names)):
            for key in keys:
                if key not in known:
                    raise ValueError(f'{", ".join(self.preset)} has no rule "{key}"{suggest(key, known)}')
        for line in lines:
            if line.limit is None and line.name in self.limits:
                raise ValueError(f"{line.name} compares nothing, so that it has no limit; leave it out with `without`")
        if self.tokenizer is None and TOKENS[0] in (part.measure for rule in rules for part in rule.parts):
            raise ValueError(f"{TOKENS[0]} takes a tokenizer: name a tokenizer.json")
        try:
            if self.groups and Path(self.groups).is_file():
                _groups(self, self.groups)
            if self.words == "spacy":
                english.check()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


def rules_of(config: Filter) -> list[tuple[Rule, float]]:
    """(rule, limit) in order, with changed limits and without the rules left out."""
    _, rules = table(config.preset, config.rules)
    limited = [rule.limited(config.limits) for rule in rules if rule.name not in config.without]
    return [(rule, rule.limit) for rule in limited]


def columns_of(config: Filter) -> list[str]:
    """The columns of the documents that rules compare, each once."""
    measures = [part.measure for rule, _ in rules_of(config) for part in rule.parts]
    return list(dict.fromkeys(name.removeprefix(COLUMN) for name in measures if name.startswith(COLUMN)))


def lines_of(config: Filter) -> list[tuple[LineRule, float | None]]:
    """(rule on lines, limit) as above."""
    lines, _ = table(config.preset, config.rules)
    return [(rule, config.limits.get(rule.name, rule.limit)) for rule in lines if rule.name not in config.without]


class State:
    """The rules of a run with their limits, resolved once a worker."""

    def __init__(self, config: Filter, side: Side) -> None:
        self.config = config
        self.rules = rules_of(config)
        self.columns = columns_of(config)
        self.lines = lines_of(config)
        self.cutting = next((name for name in config.preset if preset(name).lines), None)
        self.english = english.load() if config.words == "spacy" else None
        self.groups: dict[str, Group] = _groups(config, side.path("groups")) if config.groups else {}
        self.lists = [group.stop_words for group in self.groups.values() if group.stop_words]
        self.encoder: Encoder | None = open_encoder(side.path("tokenizer")) if config.tokenizer else None

    def groups_of(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        """Which rows are of each group that has limits of its own; groups without rows are left out."""
        if not self.groups:
            return {}
        values = batch.column(self.config.by).cast(pa.string())
        rows = {value: pc.fill_null(pc.equal(values, value), False) for value in self.groups}
        masks = {value: mask.to_numpy(zero_copy_only=False) for value, mask in rows.items()}
        return {value: mask for value, mask in masks.items() if mask.any()}

    def stop_lists(self, rows: int, groups: dict[str, np.ndarray]) -> pa.Array | None:
        """The number of each row's list of stop words, 0 for Gopher's."""
        if not self.lists:
            return None
        numbers = np.zeros(rows, np.uint32)
        listed = [value for value, group in self.groups.items() if group.stop_words]
        for number, value in enumerate(listed, 1):
            if value in groups:
                numbers[groups[value]] = number
        return pa.array(numbers)


def _groups(config: Filter, path: Path | str) -> dict[str, Group]:
    return read_groups(path, [rule for rule, _ in rules_of(config)], [rule.name for rule, _ in lines_of(config)])


def measures(batch: pa.RecordBatch, state: State, lists: pa.Array | None) -> dict[str, pa.Array]:
    """Measure -> float64 of every row: those of the kernel, tokens a character, and columns that rules compare."""
    text = batch.column("text")
    signals = kernels.signals(text, stop_words=state.lists, list_of=lists, english=state.english)
    columns = {field.name: signals.field(place) for place, field in enumerate(signals.type)}
    if state.encoder:
        try:
            tokens = pc.list_value_length(pa.array(state.encoder.encode(text))).cast(pa.float64())
        except ValueError as error:  # the tokenizer's regular expression gave up
            raise DataError(f"filter.tokenizer: {error}") from error
        columns[TOKENS[0]] = pc.divide(tokens, pc.max_element_wise(columns["n_chars"], 1.0))
    for name in state.columns:
        values = batch.column(name)
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            raise SchemaError(f"filter.rules: the column {name} is {values.type}, no number")
        found = values.cast(pa.float64(), safe=False)
        columns[COLUMN + name] = pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))
    return columns


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Drops the rows that fail a rule and cuts lines of the others. With `signals`, emits every measure of all rows."""
    groups = state.groups_of(batch)
    columns = measures(batch, state, state.stop_lists(batch.num_rows, groups))
    cuts = cut(batch, state) if state.cutting else None
    if cuts and state.cutting:
        columns |= {measure: getattr(cuts, name) for name, measure in _OF_LINES[state.cutting].items()}
    numbers = {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    chosen, values, limits, details = judge(numbers, state, groups)
    emits = {}
    if state.config.signals:
        emits["signals"] = pa.RecordBatch.from_pydict({"doc_id": batch.column("doc_id"), **columns})
    if cuts is None:
        return with_verdicts(batch, chosen, values, limits, details, emits=emits)
    lengths = pc.binary_length(cuts.text).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths == 0):
        if chosen[row] is None:
            chosen[row], values[row], limits[row] = EMPTY, 0.0, 1.0
    stays = np.array([rule is None for rule in chosen], bool)
    left = pc.if_else(pa.array(stays), cuts.text, batch.column("text"))
    return with_verdicts(
        with_column(batch, "text", left), chosen, values, limits, details, emits=emits, marks=_marks(cuts, stays, state)
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


class Verdicts(NamedTuple):
    """What the rules say of each row; None where it stays."""

    rule: list[str | None]
    value: list[float | None]
    limit: list[float | None]
    detail: list[str | None]  # what the alternatives of the rule compared


def judge(columns: Mapping[str, np.ndarray], state: State, groups: Mapping[str, np.ndarray]) -> Verdicts:
    """The first rule that each row fails, with what it compared."""
    n = len(next(iter(columns.values())))
    found = Verdicts(*([None] * n for _ in Verdicts._fields))  # type: ignore[arg-type]
    decided = np.zeros(n, bool)
    for rule, _ in state.rules:
        exempt = np.zeros(n, bool)
        for value, rows in groups.items():
            exempt[rows] = rule.name in state.groups[value].without
        limits = [_limits(part, n, state, groups) for part in rule.parts]
        kept = [part.keeps(columns[part.measure], of) for part, of in zip(rule.parts, limits, strict=True)]
        fails = ~np.any(kept, axis=0) & ~exempt
        for row in np.flatnonzero(fails & ~decided):
            measured = float(columns[rule.measure][row])
            found.rule[row], found.limit[row] = rule.name, float(limits[0][row])
            found.value[row] = measured if np.isfinite(measured) else None
            if rule.others:
                compared = zip(rule.others, limits[1:], strict=True)
                found.detail[row] = "nor " + ", ".join(
                    f"{part.measure} {columns[part.measure][row]:.6g} {part.comparison} {of[row]:g}"
                    for part, of in compared
                )
        decided |= fails
    return found


def _limits(part: Rule, rows: int, state: State, groups: Mapping[str, np.ndarray]) -> np.ndarray:
    """The limit of a rule, or of an alternative, for each row."""
    of_row = np.full(rows, part.limit, float)
    for value, mine in groups.items():
        of_row[mine] = state.groups[value].limits.get(part.name, part.limit)
    return of_row


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
    version=3,
    summary="Heuristic quality rules, by preset.",
    config=Filter,
    needs=lambda config: ("text", *([config.by] if config.groups else []), *columns_of(config)),
    presets=lambda config: ", ".join(config.preset) or None,
    expected=lambda config: (0.02, 1.0),
    files=lambda config: {
        name: [path] if path else [] for name, path in (("groups", config.groups), ("tokenizer", config.tokenizer))
    },
    libraries=lambda config: ["spacy"] if config.words == "spacy" else [],
    resources=lambda config: Resources(
        state_bytes=(config.words == "spacy") * SPACY_BYTES + bool(config.tokenizer) * TOKENIZER_BYTES
    ),
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
            side=("groups", "tokenizer"),
            emits=(Channel("signals", path="signals/{step}-{task}.parquet"),),
        ),
    ),
)
