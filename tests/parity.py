"""Verdicts of our presets by the names that datatrove gives its rules, to compare the two; and fifty documents."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from curate.filters.presets import preset
from curate.stages import filter as stage
from tests import corpus

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


def lines_of(text: str, words: int) -> str:
    """The text with a newline after every so many words."""
    split = text.split()
    return "\n".join(" ".join(split[i : i + words]) for i in range(0, len(split), words))


# What becomes of an article, so that every rule of datatrove's meets documents that it drops, and some close to it.
CHANGES: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: " ".join(text.split()[:49]) + ".",
    lambda text: " ".join(text.split()[:51]) + ".",
    lambda text: text.replace(" ", "-"),
    lambda text: " ".join(word[:2] for word in text.split()),
    lambda text: text.replace(". ", " # # # # "),
    lambda text: text.replace(". ", "... ").replace(" the ", " … the … "),
    lambda text: "- " + lines_of(text, 9).replace("\n", "\n• "),
    lambda text: lines_of(text, 12).replace("\n", "...\n"),
    lambda text: "".join(f"{word} {i}, " for i, word in enumerate(text.split())),
    lambda text: "".join(f"{word} ({i // 3}) " if i % 3 == 0 else f"{word} " for i, word in enumerate(text.split())),
    lambda text: " ".join(word for word in text.split() if len(word) > 4),
    lambda text: lines_of(text, 4),
    lambda text: lines_of(text, 10).replace("\n", ".\n"),
    lambda text: f"{text}\n" * 3,
    lambda text: f"{text}\n\nHome\n\nHome\n\nHome\n\nAbout\n\n{text[:200]}",
    lambda text: f"{text} " + "so it goes on and on " * 12,
    lambda text: f"{text} " + " ".join(text.split()[10:40]) + " " + " ".join(text.split()[10:40]),
    lambda text: (
        f"{text}\nThe privacy policy of this site.\nPlease enable JavaScript, it is needed here.\n{text[::-1]}"
    ),
    lambda text: f"{text}\nA function {{ return it }} ends.",
    lambda text: f"{text}\nLorem ipsum dolor sit amet here.",
    lambda text: f"{text[:150]}. It's John's, isn't it? We'll see. See www.example.org/a?b=c, or ask me@example.com!",
    lambda text: f'“{text[:300]}” — he said… "No," 5km/h at 10:30a.m. (U.S.) don’t; cost: $3.50, 20% off :) \U0001f600',
    lambda text: (
        f'{text}[1] [edit] and so on.[citation needed]\nIt is[12] one. It is two.  " It is three.\nIt is four? "'
    ),
    lambda text: text.replace(". ", ".\r\n").replace(" and ", " and\u2028"),
)


def fifty() -> list[str]:
    """Fifty documents: each change on two articles, the second of which is shorter."""
    rng = random.Random(7)
    texts = []
    for change in CHANGES:
        for sentences in (12, 5):
            split = corpus.article(rng).split(". ")
            texts.append(change(". ".join(split[:sentences]).rstrip(".") + "."))
    return texts
