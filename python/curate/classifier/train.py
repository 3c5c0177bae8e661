"""Training a fastText classifier: examples, one thread, a seed, and a card with what it is made of and how good it is.

The same examples and settings give the same bytes. Texts are trained on in the form of lookups.plain_tokens, or as the
distinct tokens of that. The model that is measured is the one on disk, read back by the kernel that applies it.
"""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate import lookups
from curate.classifier import measure, start
from curate.classifier.examples import Chosen, Example, choose
from curate.classifier.model import CARD, CARD_VERSION, MODEL
from curate.classifier.settings import TrainSettings
from curate.errors import ConfigError
from curate.io.inputs import InputSettings
from curate.io.store import LocalStore, write_bytes

POSITIVE, NEGATIVE = "positive", "negative"  # labels of a classifier of two classes


def train(inputs: Mapping[str, Sequence[InputSettings]], settings: TrainSettings, out: Path) -> dict[str, Any]:
    """Train a classifier of these labels into the folder `out`; returns its card.

    A model of the labels POSITIVE and NEGATIVE gets a threshold. ConfigError where `out` holds something, fewer than
    two labels are given, or a label has no examples.
    """
    if len(inputs) < 2:
        raise ConfigError("a classifier needs two classes: --positive and --negative, or --label more than once")
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out}: this folder is not empty; choose another --out")
    chosen = choose(inputs, settings)
    settings = settings.resolved(set(inputs) == {POSITIVE, NEGATIVE})
    out.mkdir(parents=True, exist_ok=True)
    store = LocalStore(out)
    model = fitted(chosen.train, settings, out)
    write_bytes(store, MODEL, model)
    classifier = lookups.Classifier(model)
    card = {
        "version": CARD_VERSION,
        "labels": sorted(inputs),
        "text": settings.form,
        "data": _data(inputs, chosen),
        "settings": settings.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("curate-train", "fasttext-community", "numpy")}
        | {"python": platform.python_version()},
        "model": {"bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()},
        **_measured(classifier, chosen.heldout, settings),
    }
    write_bytes(store, CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    return card


def fitted(examples: Sequence[Example], settings: TrainSettings, folder: Path) -> bytes:
    """The bytes of a model trained on these examples, in their order, with resolved settings.

    `folder` holds the examples while it is trained.
    """
    import fasttext

    lines, vectors, made = (folder / f".tmp-{name}" for name in ("examples.txt", "vectors.txt", "model.bin"))
    try:
        labels = [example.label for example in examples]
        texts = pa.array([example.text for example in examples], pa.large_string())
        tokens = [line.split() for line in lookups.plain_tokens(texts).to_pylist()]
        if settings.distinct:
            tokens = [list(dict.fromkeys(words)) for words in tokens]
        with lines.open("w", encoding="utf-8") as handle:
            handle.writelines(
                f"__label__{label} {' '.join(words)}\n" for label, words in zip(labels, tokens, strict=True)
            )
        if settings.informed:
            with vectors.open("w", encoding="utf-8") as handle:
                handle.writelines(start.lines(*start.vectors(labels, tokens, settings.dim, settings.min_count)))
        fasttext.train_supervised(
            str(lines), dim=settings.dim, wordNgrams=settings.word_ngrams, bucket=settings.bucket,
            minCount=settings.min_count, epoch=settings.epochs, lr=settings.rate, seed=settings.seed,
            pretrainedVectors=str(vectors) if settings.informed else "", thread=1, verbose=0,
        ).save_model(str(made))  # fmt: skip
        return made.read_bytes()
    except (ValueError, RuntimeError) as error:  # no word is left, or numbers overflow
        raise ConfigError(f"fastText cannot train on {len(examples):,} examples: {error}") from None
    finally:
        for path in (lines, vectors, made):
            path.unlink(missing_ok=True)


def _data(inputs: Mapping[str, Sequence[InputSettings]], chosen: Chosen) -> dict[str, Any]:
    """Where the examples come from, and how many there are of each label and source."""
    parts = {"train": chosen.train, "heldout": chosen.heldout}
    return {
        "inputs": [{"label": label, "source": e.source, "path": e.path} for label in inputs for e in inputs[label]],
        **chosen.counts,
        **{
            name: [
                {"label": label, "source": source, "examples": count}
                for (label, source), count in sorted(Counter((e.label, e.source) for e in examples).items())
            ]
            for name, examples in parts.items()
        },
    }


def _measured(classifier: lookups.Classifier, heldout: Sequence[Example], settings: TrainSettings) -> dict[str, Any]:
    """The figures of the card on the held-out examples: `heldout`, and of two classes `positive` and `threshold`."""
    labels = sorted(classifier.labels)
    order = [classifier.labels.index(label) for label in labels]
    found = classifier.scores(pa.array([example.text for example in heldout], pa.large_string()), form=settings.form)
    scores = np.asarray(found.flatten()).reshape(len(heldout), len(labels))[:, order].astype(np.float64)
    true = np.array([labels.index(example.label) for example in heldout])
    figures = {"examples": len(heldout), "labels": labels}
    figures |= measure.confusion(labels, true, scores.argmax(axis=1))
    if labels != sorted((POSITIVE, NEGATIVE)):
        return {"heldout": figures}
    good, score = true == labels.index(POSITIVE), scores[:, labels.index(POSITIVE)]
    threshold = measure.threshold_for(good, score, settings.target_keep, settings.target_precision)
    if threshold is None:
        best = max(measure.curve(good, score), key=lambda point: point["precision"])["precision"]
        raise ConfigError(f"no threshold has a precision of {settings.target_precision}; the best has {best:.3f}")
    figures |= {"auc": measure.auc(good, score), "curve": measure.curve(good, score),
                "at_threshold": measure.at(good, score, threshold)}  # fmt: skip
    return {"positive": POSITIVE, "threshold": threshold, "heldout": figures}
