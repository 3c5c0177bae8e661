"""Settings of the training of a classifier: which texts are examples, how it learns, and where its threshold is."""

import re
from typing import Self

from pydantic import field_validator, model_validator

from curate.config import Settings, setting
from curate.errors import ConfigError

_SPAN = re.compile(r"(\d+)-(\d+)")
QUALITY = {"word_ngrams": 2, "max_share": 1.0, "epochs": 5, "rate": 0.5}
LABELS = {"word_ngrams": 1, "max_share": 0.1, "rate": 1.0}
LABELS_SEEN = 200_000  # examples that a classifier of labels is shown, the same ones again where there are fewer


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
    max_share: float | None = setting(
        None, "words that a larger share of the examples of every class holds are left out; by default 1 (none) for"
        " quality, 0.1 for labels", unit="0..1", gt=0, le=1,
    )  # fmt: skip
    epochs: int | None = setting(
        None, f"times each example is seen; by default 5 for quality, and for labels so many as make {LABELS_SEEN:,}"
        " examples, at least 5", ge=1,
    )  # fmt: skip
    rate: float | None = setting(None, "learning rate; by default 0.5 for quality, 1 for labels", gt=0, le=10)
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

    def resolved(self, quality: bool, examples: int) -> "TrainSettings":
        """The settings with the defaults of a classifier of quality, or of one of labels, for so many examples.

        What tells subjects apart is single words, of which those that are everywhere tell nothing; they take more
        steps to be learned, for a text is a mean over all of its words. ConfigError where n-grams would be made of
        words that are left out.
        """
        defaults = QUALITY if quality else {**LABELS, "epochs": max(5, LABELS_SEEN // max(1, examples))}
        if (self.word_ngrams or 1) > 1:
            defaults = {**defaults, "max_share": 1.0}
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        found = self.model_copy(update=missing)
        if (found.word_ngrams or 1) > 1 and (found.max_share or 1) < 1:
            raise ConfigError(
                "max_share leaves words out, of which no n-grams can be made: set word_ngrams 1, or max_share 1"
            )
        return found

    @property
    def span(self) -> tuple[int, int]:
        """The least and the greatest number of words of an example."""
        low, _, high = self.words.partition("-")
        return int(low), int(high)
