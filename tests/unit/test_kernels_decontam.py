"""The kernels of decontamination: words and n-grams against the rule written out, and what each rule finds."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import kernels
from oracles import ALPHABET, UNSPACED, hash_bytes, hash_ngrams, lower

DROPPED = re.compile("[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufeff'\u2019\u02bc]")
texts = st.lists(st.text(alphabet=ALPHABET + "1,2.3", max_size=60), max_size=6)


def text(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def normalized(value: str) -> list[str]:
    """NFKD of the whole, drop what is dropped, join numbers, split at what is no word, unspaced characters alone."""
    value = re.sub("(?<=[0-9])[.,](?=[0-9])", "", value)
    value = DROPPED.sub("", unicodedata.normalize("NFKD", value))
    words: list[str] = []
    open_ = full = False
    for c in value:
        mark = unicodedata.category(c).startswith("M")
        if not (c.isalnum() or (mark and open_)):
            open_ = full = False
            continue
        unspaced = not mark and UNSPACED.match(unicodedata.name(c, "")) is not None
        if open_ and not unspaced and (mark or not full):
            words[-1] += lower(c)
        else:
            words.append(lower(c))
            full = unspaced
        open_ = True
    return words


def indexed(
    items: Sequence[tuple[str, Sequence[str], str]], *, n: int = 5, max_items: int = 64, ngrams: bool = False
) -> tuple[kernels.ItemIndex, dict[str, Any]]:
    """The index of items (question, options, answer), and its columns as finders take them."""
    counts = pa.array([len(options) for _, options, _ in items], pa.uint32())
    made = kernels.index_items(
        text([question for question, _, _ in items]),
        text([option for _, options, _ in items for option in options]),
        counts,
        text([answer for _, _, answer in items]),
        n=n,
        max_items=max_items,
        ngrams=ngrams,
    )
    return made, {**made._asdict(), "option_count": counts}


def aligned(items: Sequence[tuple[str, Sequence[str], str]], documents: Sequence[str]) -> list[dict[str, Any]]:
    """What the rule `aligned` finds, a row a match."""
    made, columns = indexed(items)
    counts, stretches = kernels.count_stretches(text(documents), made.word)
    weight = kernels.word_weights(made.items, counts, items=len(items), stretches=stretches)
    found = kernels.AlignedFinder(columns, weight, n=5).find(text(documents))
    return pa.table(list(found), names=list(found._fields)).to_pylist()


@settings(deadline=None)
@given(texts, st.integers(1, 4))
def test_words_and_grams_follow_the_rule(values: list[str], n: int) -> None:
    made, _ = indexed([(value, [], "") for value in values], n=n, ngrams=True)
    hashes = [[hash_bytes(word.encode()) for word in normalized(value)] for value in values]
    assert made.question.to_pylist() == [[word % 2**32 for word in words] for words in hashes]
    grams = {gram: [(i, at)] for i, words in enumerate(hashes) for at, gram in enumerate(hash_ngrams(words, n))}
    assert made.gram.to_pylist() == sorted(grams)
    found = {(i, at) for items, at in zip(made.item, made.place, strict=True)
             for i, at in zip(items.as_py(), at.as_py(), strict=True)}  # fmt: skip
    assert {place for places in grams.values() for place in places} <= found


QUESTION = (
    "A lighthouse keeper polishes fourteen brass lenses every morning and ships seven of them to Lisbon each week; how"
    " many lenses remain after thirty days of storms?"
)
ITEM = (QUESTION, [], "three hundred and ninety lenses remain in the tower")
FILLER = "Nothing in this paragraph has anything to do with it, and it goes on for a while about other matters. " * 4


def test_an_edited_copy_is_found_where_it_stands() -> None:
    edited = QUESTION.replace("polishes", "cleans").replace("every morning", "at dawn").replace("each week", "weekly")
    wrapped = edited.replace(" ", "\n").upper()
    document = FILLER + "\u201c" + wrapped + "\u201d " + FILLER
    (found,) = aligned([ITEM], ["", FILLER, document])
    assert (found["row"], found["item"], found["sure"]) == (2, 0, True)
    assert 0.65 <= found["limit"] <= found["score"] < 1
    span = document.encode()[found["start"] : found["end"]].decode()
    assert span.startswith("A\nLIGHTHOUSE") and span.endswith("STORMS")


def test_every_copy_is_found() -> None:
    copies = [QUESTION, QUESTION.upper(), QUESTION.replace(" ", "  ")]
    near, far = " and again: ".join(copies), f"\n{FILLER}\n".join(copies)
    for document in (near, far):
        found = aligned([ITEM], [document])
        spans = [document[one["start"] : one["end"]] + "?" for one in found]
        assert spans == copies


def test_a_copy_scores_one_and_its_options_are_evidence() -> None:
    short = (
        "Who mends the clock?",
        ["the quiet cooper", "a visiting tinker", "nobody at all", "the mayor"],
        "nobody at all",
    )
    whole = f"{short[0]}\nA. {short[1][0]}\nB. {short[1][1]}\nC. {short[1][2]}\nD. {short[1][3]}"
    found = aligned([short, ITEM], [f"{FILLER}\n{whole}\n{FILLER}", QUESTION, f"{FILLER} {short[0]} {FILLER}"])
    assert [(one["row"], one["item"], one["score"]) for one in found] == [(0, 0, 1), (1, 1, 1)]
    assert found[0]["evidence"] == 1 and found[0]["sure"]
    assert found[1]["evidence"] == 0


def test_what_many_items_share_is_no_evidence() -> None:
    stem = "Which of the following statements about the matter at hand is certainly true in the general case"
    words = ["copper", "violet", "hollow", "narrow", "silver", "gentle", "rapid", "frozen", "hidden", "wooden", "amber",
             "distant"]  # fmt: skip
    items = [(f"{stem}, given the {word} premise?", [], "") for word in words]
    assert aligned(items, [f"{stem}, we asked.", f"{stem}, given a premise?"]) == []
    found = aligned(items, [items[3][0]])
    assert [one["item"] for one in found] == [3]


def test_the_same_question_of_two_benchmarks_is_found_in_both() -> None:
    other = (
        "An entirely different question about the habits of migrating geese over the northern sea in autumn?",
        [],
        "",
    )
    found = aligned([ITEM, other, (QUESTION.upper(), ["x", "y"], "")], [QUESTION])
    assert [one["item"] for one in found] == [0, 2]


@pytest.mark.parametrize(("language", "question"), [
    ("ja", "村の灯台守は毎朝十四枚のレンズを磨き、三十日後に何枚残るか。"),
    ("th", "คนเฝ้าประภาคารขัดเลนส์สิบสี่ชิ้นทุกเช้า"),
    ("ru", "Смотритель маяка каждое утро полирует четырнадцать линз, сколько останется?"),
])  # fmt: skip
def test_a_benchmark_in_another_language_is_found_in_its_language_only(language: str, question: str) -> None:
    found = aligned([(question, [], "")], [QUESTION, question + " 14", FILLER])
    assert [(one["row"], one["score"]) for one in found] == [(1, 1)], language


WORDS = [f"w{i}" for i in range(40)]


@pytest.mark.parametrize(("counting", "n", "share", "words", "found"), [
    ("any", 13, 0.0, 13, True), ("any", 13, 0.0, 12, False),
    ("words", 8, 0.5, 20, True), ("words", 8, 0.5, 19, False),
    ("grams", 8, 0.7, 31, True), ("grams", 8, 0.7, 30, False),
])  # fmt: skip
def test_rules_that_count_grams_have_their_limits(counting: str, n: int, share: float, words: int, found: bool) -> None:
    """Of an item of 40 words (33 8-grams) the document has the first `words`, and others around them."""
    _, columns = indexed([(" ".join(WORDS), [], "")], n=n, max_items=300, ngrams=True)
    finder = kernels.NgramFinder(columns, pa.array([40], pa.uint32()), n=n, counting=counting, share=share)
    document = "around it " + " ".join(WORDS[:words]) + " other words"
    result = finder.find(text(["nothing", document]))
    assert result.row.to_pylist() == [1] * found
    if found:
        assert document[result.start[0].as_py() : result.end[0].as_py()] == " ".join(WORDS[:words])
        assert result.score[0].as_py() == pytest.approx({"any": 1, "words": 0.5, "grams": 24 / 33}[counting])


def test_a_paragraph_is_judged_by_its_own_grams() -> None:
    _, columns = indexed([(" ".join(WORDS), [], "")], n=13, max_items=300, ngrams=True)
    finder = kernels.NgramFinder(columns, pa.array([40], pa.uint32()), n=13, counting="paragraph", share=0.5)
    line = " ".join([*WORDS[:24], *(f"x{i}" for i in range(12))])  # 12 of 24 grams
    wrapped = "\n".join(" ".join(WORDS[at : at + 8]) for at in range(0, 40, 8))
    result = finder.find(text([f"\u00e9 first\n{line}\nlast", line + " y", wrapped]))
    assert (result.row.to_pylist(), result.score.to_pylist()) == ([0], [0.5])
    assert result.start[0].as_py() == len("\u00e9 first\n".encode()) and result.end[0].as_py() == len(
        f"\u00e9 first\n{line}".encode()
    )


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="n is 0: it must be 1 to 64 words"):
        indexed([("a", [], "")], n=0)
    with pytest.raises(ValueError, match="1 questions, 2 answers"):
        kernels.index_items(text(["a"]), text([]), pa.array([0], pa.uint32()), text(["", ""]),
                            n=5, max_items=64, ngrams=False)  # fmt: skip
    made, columns = indexed([ITEM])
    with pytest.raises(ValueError, match="the column place of the index has 0 rows"):
        empty = pa.array([[]] * len(made.gram), pa.large_list(pa.uint16()))
        kernels.AlignedFinder({**columns, "place": empty}, pa.array([1] * len(made.word), pa.uint16()), n=5)
    with pytest.raises(ValueError, match='counting is "most": use one of any, words'):
        kernels.NgramFinder(columns, pa.array([40], pa.uint32()), n=5, counting="most", share=0.5)
