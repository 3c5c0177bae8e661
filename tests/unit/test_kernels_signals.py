"""Every measure against its definition in plain Python, on random and on real text."""

import io
import json
import re
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate import kernels
from curate.filters import english
from oracles import words

STOPS = {"the", "be", "to", "of", "and", "that", "have", "with"}
# Unicode words (UAX 29) of the letters used here: Han characters alone, else runs with joints inside.
LETTER = "[A-Za-zéÉßЖжＡ]"
UNICODE_WORD = re.compile(
    rf"[漢字]|(?:{LETTER}|[0-9_])(?:{LETTER}|[0-9_]|(?<={LETTER})[.':](?={LETTER})|(?<=[0-9])[.',;](?=[0-9]))*"
)
TERMINAL = set(".!?。")  # of the characters used here
CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
COUNTED = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers"
COUNTER = re.compile(rf"^\W*\d(?:,|\.|\d)*[kmb]?\s+(?:{COUNTED})\W*$")

prose = [
    "the ", "The", "have ", "a b ", "same line\n", "x y z w v ", "\n\n", "\n", "- item\n", "• item\n", "end...\n",
    "…", ". . .", "#", "12,000 ", "it's ", "_a", "e.g. ", "漢字", "Жé", "Ａb ", "\u00a0", "\u3000", "\x1c", "\x00",
    "\t", "1 ", "(so)", "http://a.b/c ", "。",
]  # fmt: skip
lines = [
    "A line of five words ends.\n", "A line of five words ends.\n", 'She said "yes it is so"\n',
    "Is it so? Yes! It is.\n",
    "No mark at its end\n", "Three words here.\n", " spaces around it here. \n", "Cited[1] text of[edit] five words.\n",
    "Please use cookies on this page.\n", "Enable Javascript to go on now.\n", "the Lorem Ipsum of a page.\n",
    "if (x) { return of it.\n", "SHOUTING ALL OF IT\n", "2024\n", "3 likes\n", "1,2K  Shares!\n", "word\n", "\n",
    "\r\n", "\v", "\u2028", "Sign-in to go on\n", "2 items in cart now\n", "some of it Read more...\n",
    "'So it is said'\n",
    f"{'x' * 1001} is one long word.\n", "it [1]\n",
]  # fmt: skip
documents = st.one_of(
    st.lists(st.sampled_from(prose), max_size=60).map("".join),
    st.lists(st.sampled_from(lines), max_size=14).map("".join),
    st.text(alphabet="aB1 \n\t._-#'…:;,é漢\u00a0", max_size=80),
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


def script(letter: str) -> str:
    return "han" if letter in "漢字" else "cyrillic" if letter in "Жж" else "latin"


def again(segments: list[str]) -> tuple[int, int]:
    """Segments that stood before, and their characters."""
    seen: set[str] = set()
    later = [s for s in segments if s in seen or seen.add(s)]  # type: ignore[func-returns-value]
    return len(later), sum(map(len, later))


def top_ngram(tokens: list[str], n: int) -> int:
    counts = Counter(" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    return len(counts.most_common(1)[0][0]) * counts.most_common(1)[0][1] if counts else 0


def ngrams_again(tokens: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    chars, at = 0, 0
    while at <= len(tokens) - n:
        gram = tuple(tokens[at : at + n])
        if gram in seen:
            chars += sum(map(len, gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return chars


def sentences(line: str) -> int:
    found, ended = 0, True
    for c, following in zip(line, (line + " ")[1:], strict=True):
        if c.isalnum() or c == "_":
            found += ended
            ended = False
        elif c in TERMINAL:
            ended |= not (c == "." and (following.isalnum() or following == "_"))
    return found


def c4(text: str, *, tfds: bool) -> tuple[int, int, int]:
    """(sentences, lorem ipsum, curly bracket) of the lines that stay."""
    total = 0
    for line in map(str.strip, text.splitlines()):
        if any(len(word) > 1000 for word in line.split()):
            continue
        words, line = len(line.split()), CITATION.sub("", line)
        if not line.endswith((".", "?", "!", '"') if tfds else (".", "?", "!", '"', "'")) or line.endswith("..."):
            continue
        if (len(line.split()) < 5) if tfds else (words < 3):
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return total, 1, 0
        if "javascript" in lower:
            continue
        if "{" in line:
            return total, 0, 1
        if any(phrase in lower for phrase in POLICY):
            continue
        total += sentences(line)
    return total, 0, 0


def alnum_words(text: str) -> int:
    return sum(bool(w) and w[0].isalnum() for w in re.split("[\0 \n\r\t\v\f]", text))


def removed_words(text: str) -> float:
    """DCLM's modifiers of lines, one after the other."""
    text, left = text.strip(), []
    if not alnum_words(text):
        return 1.0
    for line in text.split("\n"):
        if line and sum(c.isupper() for c in line) / len(line) > 0.5:
            continue
        if line and sum(c.isalnum() and not c.isalpha() for c in line) / len(line) > 0.999999:
            continue
        if COUNTER.search(line.lower()) or (line and len(line.split()) < 2):
            continue
        if len(line.split()) <= 10:
            for pattern in (r"\s?items in cart", r"\s?read more...$", r"^sign-in\s?"):
                line = re.sub(pattern, "", line, flags=re.IGNORECASE)
        left.append(line)
    return (alnum_words(text) - sum(map(alnum_words, left))) / alnum_words(text)


def periodic(tokens: list[str]) -> int:
    most = 1 if tokens else 0
    for period in range(1, 14):
        run = 0
        for word, later in zip(tokens, tokens[period:], strict=False):
            run = run + 1 if word == later else 0
            most = max(most, run // period + 1)
    return most


def oracle(text: str) -> dict[str, float]:
    space, lines, paragraphs = text.split(), parts(text, "\n"), parts(text, "\n\n")
    raw, full = text.split("\n"), [x for x in text.split("\n") if x.strip()]
    split, n = text.splitlines(), max(1, len(text))
    tokens = [w for w in UNICODE_WORD.findall(text) if w[0].isalnum()]
    symbols = sum(text.count(s) for s in ("#", "...", ". . .", "…"))
    line, line_chars = duplicates(lines)
    paragraph, paragraph_chars = duplicates(paragraphs)
    number = sum(c.isalnum() and not c.isalpha() for c in text)
    spaces = sum(map(str.isspace, text))
    marks = max(0, len(text) - sum(map(len, tokens)) - spaces - 2 * text.count("..."))
    all_words = max(1, len(tokens) + marks)
    lengths, letters = sorted(map(len, space)), [c for c in text if c.isalpha()]
    later_lines, later_paragraphs = again(re.split("\n+", text)), again(re.split("\n{2,}", text.strip()))
    tfds, datatrove = c4(text, tfds=True), c4(text, tfds=False)
    urls = [w for w in re.split("[ \t\n\f\r]", text) if "://" in w or "www." in w]
    return {
        "n_bytes": len(text.encode()),
        "n_chars": len(text),
        "n_words": len(words(text)),
        "n_lines": len(lines),
        "n_paragraphs": len(paragraphs),
        "n_sentences": sum(map(sentences, split)),
        "n_space_words": len(space),
        "n_alnum_words": alnum_words(text),
        "mean_word_chars": share(sum(map(len, space)), len(space)),
        "longest_word_chars": max(lengths, default=0),
        "symbol_word_ratio": symbols / max(1, len(space)),
        "alpha_word_share": share(sum(any(c.isalpha() for c in w) for w in space), len(space)),
        "n_stop_words": sum(w.lower() in STOPS for w in space),
        "bullet_line_share": share(sum(x.startswith(("●", "•", "*", "-")) for x in lines), len(lines)),
        "ellipsis_line_share": share(sum(x.endswith(("...", ". . .", "…")) for x in lines), len(lines)),
        "uppercase_share": sum(map(str.isupper, text)) / n,
        "digit_share": number / n,
        "whitespace_share": spaces / n,
        "non_alnum_share": (len(text) - number - sum(map(str.isalpha, text)) - spaces) / n,
        "parenthesis_share": (text.count("(") + text.count(")")) / n,
        "url_char_share": share(len("".join(urls).encode()), len(text.encode())),
        "mixed_script_word_share": share(
            sum(bool(re.search("[A-Za-zéÉß]", w) and re.search("[Жж]", w)) for w in tokens), len(tokens)
        ),
        "main_script_share": share(max(Counter(map(script, letters)).values(), default=0), len(letters)),
        "styled_letter_share": share(letters.count("Ａ"), len(letters)),
        "readability_eflaw": share(len(tokens) + sum(len(w) <= 3 for w in tokens), sum(map(sentences, split))),
        "periodic_repeats": periodic(tokens),
        "dup_line_share": line,
        "dup_paragraph_share": paragraph,
        "dup_line_char_share": line_chars,
        "dup_paragraph_char_share": paragraph_chars,
        **{f"top_{n}gram_char_share": ngram_share(tokens, n) for n in (2, 3, 4)},
        **{f"dup_{n}gram_char_share": ngram_share(tokens, n) for n in range(5, 11)},
        "terminal_line_share": share(sum(x[-1] in TERMINAL for x in full), len(full)),
        "short_line_share": share(sum(len(x) <= 30 for x in full), len(full)),
        "repeated_line_char_share": share(again(full)[1], len(text.replace("\n", ""))),
        "newline_word_ratio": text.count("\n") / all_words if tokens or marks else 0,
        "datatrove_n_words": len(tokens),
        "datatrove_mean_word_chars": share(sum(map(len, tokens)), len(tokens)),
        "datatrove_hash_ratio": text.count("#") / all_words,
        "datatrove_ellipsis_ratio": (text.count("...") + text.count("…")) / all_words,
        "datatrove_bullet_line_share": share(sum(x.lstrip().startswith(("•", "-")) for x in split), len(split)),
        "datatrove_ellipsis_line_share": share(sum(x.rstrip().endswith(("...", "…")) for x in split), len(split)),
        "datatrove_alpha_word_share": sum(any(c.isalpha() for c in w) for w in tokens) / all_words,
        "datatrove_n_stop_words": len(STOPS & set(tokens)),
        "datatrove_dup_paragraph_share": share(later_paragraphs[0], len(re.split("\n{2,}", text.strip()))),
        "datatrove_dup_paragraph_char_share": later_paragraphs[1] / n,
        "datatrove_dup_line_share": share(later_lines[0], len(re.split("\n+", text))),
        "datatrove_dup_line_char_share": later_lines[1] / n,
        **{f"datatrove_top_{i}gram_char_share": top_ngram(tokens, i) / n for i in (2, 3, 4)},
        **{f"datatrove_dup_{i}gram_char_share": ngrams_again(tokens, i) / n for i in range(5, 11)},
        "dolma_median_word_chars": median(lengths) if lengths else 0,
        "dolma_symbol_word_share": share(sum("#" in w or "…" in w for w in space), len(space)),
        "dolma_n_stop_words": sum(w in STOPS for w in space),
        "dolma_bullet_line_share": sum(x.startswith(("*", "-")) for x in raw) / len(raw),
        "dolma_ellipsis_line_share": sum(x.endswith("…") for x in raw) / len(raw),
        "c4_tfds_n_sentences": tfds[0],
        "c4_tfds_lorem_ipsum": tfds[1],
        "c4_tfds_curly_bracket": tfds[2],
        "c4_datatrove_n_sentences": datatrove[0],
        "c4_datatrove_lorem_ipsum": datatrove[1],
        "c4_datatrove_curly_bracket": datatrove[2],
        "refinedweb_removed_word_share": removed_words(text),
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
            texts += [text for text, _ in zip((t for t in found if t.isascii()), range(20), strict=False)]
    assert len(texts) > 60
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


# -- spaCy's words ------------------------------------------------------------------------------------------------

PIECES = re.findall(
    r"\S+",
    """
word Word US a B 7 3.14 1,000 - -- — – … . .. , : ; ! ? ( ) [ " ' ` ’ ‘ “ ” 's ’s n't don't
can’t U.S. e.g. a.m. Mr. 5km 10% $ US$5 £ °C. ° + = / < > ~ ^ * & # _ @ © é Ä example.org
www.a.com/b?c=d http:// x@y.com 8.8.8.8 :) ;-) C++ and/or 漢字 я ²
""",
)
chunks = st.lists(st.sampled_from([*PIECES, *PIECES, " ", "\n", "\u00a0"]), max_size=14).map("".join)


@pytest.fixture(scope="module")
def both() -> Any:
    """(our words of a text, spaCy's)."""
    pytest.importorskip("spacy")
    import spacy

    ours, theirs = english.load(), spacy.blank("en").tokenizer
    return lambda text: (ours.words(text), [word.text for word in theirs(text) if not word.is_space])


@settings(deadline=None, max_examples=400)
@given(st.one_of(chunks, documents))
@example("word'''' a''''''")
def test_words_are_those_of_spacy(both: Any, text: str) -> None:
    ours, theirs = both(text)
    assert ours == theirs


@pytest.mark.realdata
def test_words_of_real_text_are_those_of_spacy(both: Any, shared: Path) -> None:
    with open(shared / "quality" / "dclm_human_quality.jsonl.zst", "rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        for text, _ in zip((json.loads(line)["text"][:20_000] for line in lines), range(25), strict=False):
            ours, theirs = both(text)
            assert ours == theirs
