"""A classifier on disk: a folder with model.bin and card.json, as `curate train-classifier` makes it, or a model file.

Of a folder the card says in which form the model reads text, which label is the wanted one and where its threshold is.
A fastText file alone, .bin or .ftz, reads text as it is, line ends as spaces.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate import lookups
from curate.errors import ConfigError

MODEL, CARD = "model.bin", "card.json"
CARD_VERSION = 1
FORMS = ("plain", "distinct")  # of text in a card, as lookups.Classifier.scores has them


@dataclass(frozen=True)
class Opened:
    """A model that is ready to be applied, and its card; an empty one where it has none."""

    classifier: lookups.Classifier
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the scores."""
        return self.classifier.labels

    def scores(self, text: pa.Array) -> np.ndarray:
        """float32 [rows, labels]: the probability of every label, 0..1."""
        found = self.classifier.scores(text, form=self.card.get("text", "raw"))
        return np.asarray(found.flatten()).reshape(len(text), len(self.labels))


def files_of(path: str) -> list[str]:
    """The files that a model consists of."""
    place = Path(path).expanduser()
    return [str(place / MODEL), str(place / CARD)] if place.is_dir() else [path]


def open_model(path: str, setting: str) -> Opened:
    """The model at `path`, opened once in a process as long as its file is the same.

    Raises ConfigError, which begins with the name of the setting, where there is none or it cannot be used.
    """
    files = [Path(name).expanduser() for name in files_of(path)]
    for file in files:
        if not file.is_file():
            raise ConfigError(f"{setting}: {file}: no such file")
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    try:
        return _opened(stamps)
    except ValueError as error:
        raise ConfigError(f"{setting}: {path}: {error}") from None


@lru_cache(maxsize=4)
def _opened(stamps: Sequence[tuple[str, int, int]]) -> Opened:
    card: dict[str, Any] = {}
    if len(stamps) > 1:
        card = json.loads(Path(stamps[1][0]).read_text(encoding="utf-8"))
        if not isinstance(card, dict) or card.get("version") != CARD_VERSION:
            raise ValueError(f"{CARD} is no card of version {CARD_VERSION}")
        if card.get("text") not in FORMS:
            raise ValueError(f"{CARD}: text is {card.get('text')!r}; a model reads one of {', '.join(FORMS)}")
    return Opened(lookups.Classifier(Path(stamps[0][0]).read_bytes()), card)


def model_bytes(path: str) -> int:
    """Private memory of the opened model: its file while it is read, and what is made of it."""
    files = [Path(name).expanduser() for name in files_of(path)]
    return sum(2 * file.stat().st_size for file in files if file.is_file())
