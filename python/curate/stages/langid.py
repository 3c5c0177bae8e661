"""langid: the language of each document, from its beginning and, of a long one, some more places.

The score is the probability that the model gives the language, softened for the length of the text (the softmax is
taken of score / sqrt(bytes)), so that one limit serves short and long texts: 0.5 keeps 97 % of single sentences, and
0.65 is safe for documents. A text in which the model finds nothing it knows is `und`. On 99.8 % of pages the first
1,000 characters get the same label as the whole text.

A text of ten times `characters` or more is also looked at in `windows` more places, up to its end. Each place has a
vote, and the score is the mean of the places with that language, counted over all places: where a document changes its
language, it falls. With `mixed` such a document, two places of which or more are surely of another language, is labeled
`mixed`.

The model is py3langid's, with 140 labels: ISO 639-1 codes, and where there are none ISO 639-3 codes (arz, ary, yue,
wuu). In `keep` a macrolanguage stands for its languages, too: zh for yue and wuu, ar for arz and ary. `model` takes
a fastText file of yours instead, lid.176.bin, lid.176.ftz or GlotLID for example; labels are then those of that file.
"""

from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from pydantic import model_validator

from curate import kernels, language, lookups, schema
from curate.classifier.model import Opened, files_of, model_bytes, open_model
from curate.config import Settings, fill, setting, suggest
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_column, with_verdicts

UNKNOWN = "und"  # the label of a text in which the model finds nothing it knows
MIXED = "mixed"
NOTHING_FOUND = 0.02  # least score of a language; without a known feature each of 142 columns scores 1/142
LONG = 10  # times `characters`: the bytes of a text that has further windows
PART = 4  # a further window has this part of `characters`: of 250 characters 97 % of labels are right
SURE = 0.5  # score of a place that counts as being of another language
OTHERS = 2  # places of another language that make a document mixed

MACROLANGUAGES = {
    "ar": ("ary", "arz", "apc", "arb"), "az": ("azb", "azj"), "fa": ("pes", "prs"), "ff": ("fuv",), "gn": ("gug",),
    "kok": ("gom",), "ku": ("ckb", "kmr", "sdh"), "lv": ("ltg", "lvs"), "no": ("nb", "nn"), "uz": ("uzn", "uzs"),
    "zh": ("cmn", "gan", "hak", "nan", "wuu", "yue"),
}  # fmt: skip
"""ISO 639 macrolanguages and those of their languages for which models have labels of their own."""


class LangId(Settings):
    """Which languages stay, and how sure the model must be."""

    keep: list[str] = setting([], "labels of languages to keep, such as en, zh or yue; empty keeps all")
    macrolanguages: bool = setting(True, "in keep, zh stands for yue and wuu too, ar for arz and ary, no for nn")
    min_score: float = setting(0.0, "a document with a lower score is dropped", ge=0, le=1)
    characters: int = setting(1000, "read this much of the beginning", unit="characters", ge=50)
    windows: int = setting(4, "further places that a long document is looked at", ge=0, le=100)
    mixed: bool = setting(False, "label a document whose places are of several languages `mixed`")
    source_name: str = setting(
        "", "sources by language: a pattern such as {source}-{lang}; empty leaves sources as they are"
    )
    model: str = setting("", "a fastText file to use instead of py3langid's model")

    @model_validator(mode="after")
    def _known_languages(self) -> Self:
        """ValueError, with the nearest known name, for a language that the model does not know."""
        labels = [*_labels(self), UNKNOWN, MIXED] if self.keep else []
        for name in self.keep:
            if not _meant(name, self.macrolanguages) & set(labels):
                raise ValueError(f'no language is named "{name}"{suggest(name, labels)}')
        if self.source_name:
            fill(self.source_name, lang="", source="")
        return self


def _labels(config: LangId) -> list[str]:
    return open_model(config.model, "langid.model").labels if config.model else language.load().labels


def _meant(name: str, macrolanguages: bool) -> set[str]:
    """The labels that a name of `keep` stands for."""
    return {name, *(MACROLANGUAGES.get(name, ()) if macrolanguages else ())}


class State(NamedTuple):
    """The settings and the model, opened once a worker."""

    config: LangId
    ours: kernels.Languages | None
    theirs: Opened | None
    keep: frozenset[str]  # with the languages of macrolanguages


def open_state(config: LangId, side: Side) -> State:
    """The model that the settings name."""
    keep = frozenset().union(*(_meant(name, config.macrolanguages) for name in config.keep))
    if config.model:
        return State(config, None, open_model(config.model, "langid.model"), keep)
    return State(config, language.load(), None, keep)


def identify(text: pa.Array, state: State) -> tuple[list[str], list[float]]:
    """(labels, scores) of texts by their beginnings."""
    if state.ours is not None:
        columns, probabilities = state.ours.identify(text, characters=state.config.characters)
        labels, least = state.ours.labels, NOTHING_FOUND
    else:
        assert state.theirs is not None
        labels = state.theirs.labels
        table = state.theirs.scores(text)
        columns, probabilities = pa.array(table.argmax(axis=1)), pa.array(table.max(axis=1))
        least = 1.5 / len(labels)
    found = zip(columns.to_pylist(), probabilities.to_pylist(), strict=True)
    return [labels[c] if p >= least else UNKNOWN for c, p in found], probabilities.to_pylist()


def languages(text: pa.Array, state: State) -> tuple[list[str], list[float]]:
    """(label, score) of every document, by the votes of its places."""
    config = state.config
    rows, parts = lookups.windows(
        text, first=config.characters, further=config.windows, length=max(1, config.characters // PART),
        least=LONG * config.characters if config.windows else 1 << 62,
    )  # fmt: skip
    labels, scores = identify(parts, state)
    first = np.searchsorted(np.asarray(rows), np.arange(len(text) + 1)).tolist()
    found = [
        (labels[a], scores[a]) if b == a + 1 else _voted(labels[a:b], scores[a:b], config.mixed)
        for a, b in pairwise(first)
    ]
    return [label for label, _ in found], [score for _, score in found]


def _voted(labels: list[str], scores: list[float], mixed: bool) -> tuple[str, float]:
    """The language with the greatest sum of scores, the first of equal ones, and that sum over all places."""
    sums: dict[str, float] = {}
    for label, score in zip(labels, scores, strict=True):
        sums[label] = sums.get(label, 0.0) + score
    best = max(sums, key=lambda label: sums[label])
    near = _macro(best)
    others = sum(s >= SURE and _macro(label) != near for label, s in zip(labels, scores, strict=True))
    return (MIXED if mixed and others >= OTHERS else best), sums[best] / len(labels)


def _macro(label: str) -> str:
    """The macrolanguage of a label, or the label: yue beside zh makes no document mixed."""
    return next((macro for macro, inside in MACROLANGUAGES.items() if label in inside), label)


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Sets lang and lang_score; drops rows of another language, or with a score below the limit."""
    config, keep = state.config, state.keep
    langs, scores = languages(batch.column("text"), state)
    batch = with_column(batch, "lang", pa.array(langs, pa.string()).dictionary_encode().cast(schema.CATEGORY))
    batch = with_column(batch, "lang_score", pa.array(scores, pa.float32()))
    if config.source_name:
        before = batch.column("source").cast(pa.string()).to_pylist()
        sources = [fill(config.source_name, lang=x, source=s or "") for x, s in zip(langs, before, strict=True)]
        batch = with_column(batch, "source", pa.array(sources).dictionary_encode().cast(schema.CATEGORY))
    rules: list[str | None] = []
    details: list[str | None] = []
    for lang, score in zip(langs, scores, strict=True):
        wrong, unsure = bool(keep) and lang not in keep, score < config.min_score
        rules.append("langid.keep" if wrong else "langid.min_score" if unsure else None)
        details.append(f"{lang}, not {' or '.join(config.keep)}" if wrong else lang if unsure else None)
    limits = [config.min_score if rule == "langid.min_score" else None for rule in rules]
    return with_verdicts(batch, rules, scores, limits, details)


STAGE = Stage(
    name="langid",
    version=3,
    summary="Identify the language; keep the ones listed.",
    config=LangId,
    libraries=lambda config: () if config.model else ("py3langid",),
    resources=lambda config: Resources(state_bytes=model_bytes(config.model) if config.model else language.MODEL_BYTES),
    expected=lambda config: (0.01, 1.0),
    rules=lambda config: {"langid.keep": "confidence", "langid.min_score": "confidence"},
    limits=lambda config: {"langid.min_score": config.min_score},
    files=lambda config: {"model": files_of(config.model) if config.model else []},
    phases=(Phase("apply", "each", open=open_state, apply=apply, side=("model",)),),
)
