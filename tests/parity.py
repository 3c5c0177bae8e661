"""Verdicts of our presets by the names that datatrove gives its rules, to compare the two."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curate.filters.presets import preset
from curate.stages import filter as stage

# Name of datatrove's rule -> name of ours, by preset.
RULES: dict[str, dict[str, str]] = {
    "gopher-repetition@datatrove": {
        "empty": "gopher_repetition.empty",
        "dup_para_frac": "gopher_repetition.duplicate_paragraphs",
        "dup_para_char_frac": "gopher_repetition.duplicate_paragraph_chars",
        "dup_line_frac": "gopher_repetition.duplicate_lines",
        "dup_line_char_frac": "gopher_repetition.duplicate_line_chars",
        **{f"top_{n}_gram": f"gopher_repetition.top_{n}gram" for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": f"gopher_repetition.duplicate_{n}grams" for n in range(5, 11)},
    },
    "gopher@datatrove": {
        "gopher_short_doc": "gopher.min_words",
        "gopher_long_doc": "gopher.max_words",
        "gopher_below_avg_threshold": "gopher.min_word_length",
        "gopher_above_avg_threshold": "gopher.max_word_length",
        "gopher_too_many_hashes": "gopher.hashes",
        "gopher_too_many_ellipsis": "gopher.ellipses",
        "gopher_too_many_bullets": "gopher.bullet_lines",
        "gopher_too_many_end_ellipsis": "gopher.ellipsis_lines",
        "gopher_below_alpha_threshold": "gopher.alpha_words",
        "gopher_enough_stop_words": "gopher.stop_words",
    },
    "c4@datatrove": {
        "lorem_ipsum": "c4.lorem_ipsum",
        "curly_bracket": "c4.curly_bracket",
        "too_few_sentences": "c4.min_sentences",
    },
    "fineweb@datatrove": {
        "empty": "fineweb.empty",
        "line_punct_ratio": "fineweb.terminal_lines",
        "short_line_ratio": "fineweb.short_lines",
        "char_dup_ratio": "fineweb.repeated_line_chars",
        "list_ratio": "fineweb.newlines",
    },
}


def judge(texts: Sequence[str], name: str, **settings: Any) -> tuple[list[str], list[str]]:
    """(the first rule that each text fails, "" for one that stays; the text that is left) by one preset."""
    config = stage.Filter(preset=[name], signals=False, **settings)
    applied = stage.apply(
        pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())}),
        stage.State(config, None),  # type: ignore[arg-type]
    )
    assert applied.verdicts is not None
    rules = [rule or "" for rule in applied.verdicts.column("rule").to_pylist()]
    return rules, applied.batch.column("text").to_pylist()


def agreement(name: str, theirs: Sequence[str], ours: Sequence[str]) -> tuple[int, int]:
    """Documents with the same verdict (kept or dropped), and those with the same first rule too."""
    known = {"": "", "division by zero": "division by zero", **RULES[name]}
    expected = [known[rule] for rule in theirs]
    assert set(RULES[name].values()) == {rule.name for rule in preset(name).rules}
    same = sum((a == "") == (b == "") for a, b in zip(expected, ours, strict=True))
    return same, sum(a == b for a, b in zip(expected, ours, strict=True))
