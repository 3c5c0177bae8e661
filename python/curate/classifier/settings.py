"""Settings of the training of a classifier: which texts are examples, how it learns, and where its threshold is."""

import re
from typing import Self

from pydantic import field_validator, model_validator

from curate.config import Settings, setting
from curate.errors import ConfigError

_SPAN = re.compile(r"(\d+)-(\d+)")
QUALITY = {"word_ngrams": 2, "distinct": False, "informed": False}
LABELS = {"word_ngrams": 1, "distinct": True, "informed": True}


class TrainSettings(Settings):
    """What of the documents becomes examples, and how fastText learns from them."""

    words: str = setting(
        "20-1500",
        "longer documents are cut into parts of a length between the two, shorter ones left out",
        unit="words",
    )
    examples: int = setting(4000, "examples of each class at most, as many from each of its sources as it has", ge=1)
    holdout: float = setting(0.15, "share of sites or, without addresses, documents held out to measure", gt=0, lt=1)
    target_keep: float | None = setting(
        None, "the threshold keeps this share of the held-out examples", unit="0..1", gt=0, lt=1
    )
    target_precision: float | None = setting(
        None, "the threshold is the lowest at which this share of what it keeps is good", unit="0..1", gt=0, le=1
    )
    benchmarks: list[str] = setting([], "JSONL files of benchmark items; examples with 13 words of one are left out")
    dim: int = setting(64, "numbers by which the model knows a word", ge=1, le=4096)
    word_ngrams: int | None = setting(
        None, "word n-grams up to this length count; by default 2 for two classes of quality, 1 for labels", ge=1, le=5
    )
    bucket: int = setting(200_000, "places for n-grams", ge=1, le=100_000_000)
    min_count: int = setting(3, "words that the examples hold less often are left out", ge=1)
    distinct: bool | None = setting(
        None, "a word counts once in a text, however often it stands there; by default for labels, not for quality"
    )
    informed: bool | None = setting(
        None, "words start at what the examples say of them, and not at random; by default for labels, not for quality"
    )
    epochs: int = setting(5, "times each example is seen", ge=1)
    rate: float = setting(0.5, "learning rate", gt=0, le=10)
    seed: int = setting(1, "chooses examples, held-out sites, and first weights")

    @field_validator("words")
    @classmethod
    def _is_a_span(cls, text: str) -> str:
        """ValueError unless it is two numbers, the lower first."""
        found = _SPAN.fullmatch(text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f'"{text}" is no span of words: write the least and the greatest length, as 20-1500')
        return text

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.target_keep is not None and self.target_precision is not None:
            raise ValueError("target_keep and target_precision each say where the threshold is: give one of them")
        return self

    def resolved(self, quality: bool) -> "TrainSettings":
        """The settings with the defaults of a classifier of quality, or of one of labels.

        What tells subjects apart is which words a text has, most of them rare; what tells good text is how it is
        written. ConfigError where n-grams would be made of words that count once.
        """
        defaults = QUALITY if quality else LABELS
        if (self.word_ngrams or 1) > 1:
            defaults = {**defaults, "distinct": False}
        found = self.model_copy(update={n: v for n, v in defaults.items() if getattr(self, n) is None})
        if (found.word_ngrams or 1) > 1 and found.distinct:
            raise ConfigError("no n-grams can be made of words that count once: set word_ngrams 1, or distinct false")
        return found

    @property
    def form(self) -> str:
        """The form in which the model reads texts, as lookups.Classifier.scores has it."""
        return "distinct" if self.distinct else "plain"

    @property
    def span(self) -> tuple[int, int]:
        """The least and the greatest number of words of an example."""
        low, _, high = self.words.partition("-")
        return int(low), int(high)
