"""Every measure against its definition in plain Python, on random and on real text."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import kernels
from oracles import words

STOPS = {"the", "be", "to", "of", "and", "that", "have", "with"}
# Unicode words (UAX 29) of the letters used here: Han characters alone, else runs with joints inside.
LETTER = "[A-Za-zéÉßЖж]"
UNICODE_WORD = re.compile(
    rf"[漢字]|(?:{LETTER}|[0-9_])(?:{LETTER}|[0-9_]|(?<={LETTER})[.':](?={LETTER})|(?<=[0-9])[.',;](?=[0-9]))*"
)
pieces = st.sampled_from(
    ["the ", "The", "have ", "a b ", "same line\n", "x y z w v ", "\n\n", "\n", "- item\n", "• item\n", "end...\n"]
    + [
        "…",
        ". . .",
        "#",
        "12,000 ",
        "it's ",
        "_a",
        "e.g. ",
        "漢字",
        "Жé",
        "\u00a0",
        "\u3000",
        "\x1c",
        "\x00",
        "\t",
        "1 ",
    ]
)
documents = st.one_of(
    st.lists(pieces, max_size=60).map("".join), st.text(alphabet="aB1 \n\t._-#'…:;,é漢\u00a0", max_size=80)
)


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def parts(text: str, separator: str) -> list[str]:
    return [p for part in text.split(separator) if (p := part.strip())]


def duplicates(segments: list[str]) -> tuple[float, float]:
    counts = Counter(segments)
    repeated = [s for s in segments if counts[s] > 1]
    return share(len(repeated), len(segments)), share(sum(map(len, repeated)), sum(map(len, segments)))


def ngram_share(tokens: list[str], n: int) -> float:
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    counts = Counter(grams)
    most = max(counts.values(), default=0)
    if most < 2:
        return 0.0
    total = sum(map(len, tokens))
    if n <= 4:
        return share(most * max(sum(map(len, gram)) for gram in grams if counts[gram] == most), total)
    covered = {i + k for i, gram in enumerate(grams) if counts[gram] > 1 for k in range(n)}
    return share(sum(len(tokens[i]) for i in covered), total)


def oracle(text: str) -> dict[str, float]:
    space, lines, paragraphs = text.split(), parts(text, "\n"), parts(text, "\n\n")
    fasttext = [w for w in re.split("[\0 \n\r\t\v\f]", text) if w and w[0].isalnum()]
    tokens = [w for w in UNICODE_WORD.findall(text) if w[0].isalnum()]
    symbols = sum(text.count(s) for s in ("#", "...", ". . .", "…"))
    line, line_chars = duplicates(lines)
    paragraph, paragraph_chars = duplicates(paragraphs)
    return {
        "n_bytes": len(text.encode()),
        "n_chars": len(text),
        "n_words": len(words(text)),
        "n_lines": len(lines),
        "n_paragraphs": len(paragraphs),
        "n_space_words": len(space),
        "n_alnum_words": len(fasttext),
        "mean_word_chars": share(sum(map(len, space)), len(space)),
        "symbol_word_ratio": share(symbols, len(space)),
        "alpha_word_share": share(sum(any(c.isalpha() for c in w) for w in space), len(space)),
        "n_stop_words": sum(w.lower() in STOPS for w in space),
        "bullet_line_share": share(sum(x.startswith(("●", "•", "*", "-")) for x in lines), len(lines)),
        "ellipsis_line_share": share(sum(x.endswith(("...", ". . .", "…")) for x in lines), len(lines)),
        "dup_line_share": line,
        "dup_paragraph_share": paragraph,
        "dup_line_char_share": line_chars,
        "dup_paragraph_char_share": paragraph_chars,
        **{f"top_{n}gram_char_share": ngram_share(tokens, n) for n in (2, 3, 4)},
        **{f"dup_{n}gram_char_share": ngram_share(tokens, n) for n in range(5, 11)},
    }


def measured(texts: list[str]) -> list[dict[str, float]]:
    return kernels.signals(pa.array(texts, pa.large_string())).to_pylist()


@settings(deadline=None, max_examples=300)
@given(st.lists(documents, max_size=4))
def test_measures_follow_their_definitions(texts: list[str]) -> None:
    assert measured(texts) == [oracle(text) for text in texts]


@pytest.mark.realdata
def test_measures_of_real_text(shared: Path) -> None:
    """News and wiki pages whose characters the oracle's word expression covers."""
    texts = []
    for name in ("news_reuters", "wiki", "forum_20news", "docs_peps"):
        with open(shared / "text" / f"{name}.jsonl.zst", "rb") as file:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
            found = (json.loads(line)["text"] for line in lines)
            texts += [text for text, _ in zip((t for t in found if t.isascii()), range(60), strict=False)]
    assert len(texts) > 150
    assert measured(texts) == [oracle(text) for text in texts]


def test_the_table_describes_the_columns() -> None:
    table = kernels.measures()
    column = kernels.signals(pa.array(["text"]))
    assert [name for name, _, _ in table] == column.type.names
    assert {name: unit for name, unit, _ in table} == {f.name: f.metadata[b"unit"].decode() for f in column.type}
    assert all(definition.endswith(".") for _, _, definition in table)


def test_repeated_spam_stands_out() -> None:
    spam = "buy cheap watches online now at our store today only\n" * 20
    found = measured([spam])[0]
    assert found["dup_line_share"] == found["dup_10gram_char_share"] == 1
    assert found["top_2gram_char_share"] == len("watchesonline") / 43
