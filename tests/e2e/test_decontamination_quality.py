"""What decontamination finds on real benchmarks and real text: recall by length, false documents, known overlaps.

The set is that of benchmarks/decontamination_set.py with a seed of its own: planted are items that no threshold was
chosen on. Limits are those of ../shared/reference/decontamination-study.md, column "ship".
"""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.decontamination import Outcome
from benchmarks.decontamination_set import Finder, all_items, labelled, without_items
from curate.audits.decontaminate import same_question
from curate.audits.planting import FAMILIES, Planter, look_alikes

SEED = 415
LONG, MIDDLE, SHORT = "14 words or more", "8 to 13 words", "under 8 words"

# (kind, length): least recall in %.
ALWAYS = ("verbatim", "own paragraph", "wrapped", "embedded", "shuffled", "question only")
SHIP = {
    **{(kind, LONG): 100.0 for kind in ALWAYS},
    ("retyped", LONG): 99.0, ("5 % edits", LONG): 99.0, ("10 % edits", LONG): 97.0,
    ("verbatim", MIDDLE): 98.0, ("embedded", MIDDLE): 97.0, ("5 % edits", MIDDLE): 92.0, ("10 % edits", MIDDLE): 83.0,
    ("verbatim", SHORT): 89.0,
}  # fmt: skip


@pytest.mark.realdata
@pytest.mark.slow
def test_recall_and_precision_are_those_of_the_study(tmp_path: Path) -> None:
    outcome = Outcome("aligned", *labelled(tmp_path, SEED))
    # A share that a few hundred items show may lie 1.64 standard errors below the true one.
    low = {}
    for at, share in SHIP.items():
        found, planted = outcome.recall(*at)
        error = 164 * (share / 100 * (1 - share / 100) / planted) ** 0.5
        if round(100 * found / planted + error, 1) < share:
            low[at] = (found, planted)
    false, real = outcome.fired()
    assert not low
    assert false <= 2 * real / 29_000 + 1, Counter(
        document.kind for document, found in zip(outcome.documents, outcome.found, strict=True)
        if found and not document.planted
    )  # fmt: skip
    assert outcome.fired("gsm8k train")[0] <= 1
    # The matches of an item are right or wrong in all the ways in which it is planted: the sample is of items.
    items = {document.item.name for document in outcome.documents if document.item and document.planted}
    assert outcome.precision() + 1.64 * (0.99 * 0.01 / len(items)) ** 0.5 >= 0.99


@pytest.mark.realdata
@pytest.mark.slow
def test_mgsm_in_english_is_gsm8k_and_its_translations_are_not(tmp_path: Path) -> None:
    items = all_items(tmp_path)
    finder = Finder("aligned", [item for item in items if item.benchmark == "gsm8k"], [])
    languages: dict[str, list[bool]] = {}
    for item in items:
        if item.benchmark.startswith("mgsm_"):
            (found,) = finder.find([item.question])
            languages.setdefault(item.benchmark[5:], []).append(bool(found))
            assert {same_question(one) for one, _ in found} <= {same_question(item)}
    assert {name: sum(found) for name, found in languages.items() if any(found)} == {"en": 250}
    assert all(len(found) == 250 for found in languages.values()) and len(languages) == 11


@pytest.mark.realdata
@pytest.mark.slow
def test_texts_that_only_look_like_items_are_left_alone(tmp_path: Path) -> None:
    items = all_items(tmp_path)
    hosts = [text for kind, text in without_items() if kind == "news" and len(text.split()) > 100][:400]
    finder = Finder("aligned", items, hosts)
    passages = [item.passage for item in items if len(item.passage.split()) > 20]
    documents = list(look_alikes(Planter(hosts, SEED), passages))
    found = Counter(
        family
        for (family, _), hits in zip(documents, finder.find([text for _, text in documents]), strict=True)
        if hits
    )
    assert set(Counter(family for family, _ in documents).values()) == {40}
    assert not {family: found[family] for family in FAMILIES if found[family]}
    assert found["source passages"] <= 1
