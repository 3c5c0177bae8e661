"""langid: the language of each document, from its first 1,000 characters (py3langid's bundled model).

The score is the model's probability softened by the text's length (softmax of score / sqrt(bytes)), so that one
limit serves short and long texts: .5 keeps 97 % of sentences, .65 is safe for documents. Text in which the model
finds nothing is `und`. The first 1,000 characters give the whole text's label on 99.8 % of pages.
"""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import field_validator

from curate import schema
from curate.config import Settings, setting, suggest
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_column, with_verdicts

MODEL_BYTES = 80_000_000  # private memory of the opened model, measured
NOTHING_FOUND = 0.02  # text without a known feature scores 1/142 for every language


class LangId(Settings):
    keep: list[str] = setting([], "languages to keep (ISO 639-1); empty keeps all")
    min_score: float = setting(0.0, "a document with a lower score is dropped", ge=0, le=1)
    characters: int = setting(1000, "read this much of the beginning", unit="characters", ge=50)

    @field_validator("keep")
    @classmethod
    def _known_languages(cls, keep: list[str]) -> list[str]:
        labels = load_model().labels if keep else []
        for name in keep:
            if name not in labels:
                raise ValueError(f'no language is named "{name}"{suggest(name, labels)}')
        return keep


@cache
def load_model() -> Any:
    """py3langid's bundled model, once a process (0.7 s)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=NOTHING_FOUND)


def open_model(config: LangId, side: Side) -> tuple[LangId, Any]:
    return config, load_model()


def apply(batch: pa.RecordBatch, state: tuple[LangId, Any]) -> Applied:
    config, model = state
    found = [model.classify(text[: config.characters]) for text in batch.column("text").to_pylist()]
    langs = [lang for lang, _ in found]
    scores = [float(np.float32(score)) for _, score in found]
    batch = with_column(batch, "lang", pa.array(langs, pa.string()).dictionary_encode().cast(schema.CATEGORY))
    batch = with_column(batch, "lang_score", pa.array(scores, pa.float32()))
    rules: list[str | None] = []
    details: list[str | None] = []
    for lang, score in zip(langs, scores, strict=True):
        wrong, unsure = bool(config.keep) and lang not in config.keep, score < config.min_score
        rules.append("langid.keep" if wrong else "langid.min_score" if unsure else None)
        details.append(f"{lang}, not {' or '.join(config.keep)}" if wrong else lang if unsure else None)
    limits = [config.min_score if rule == "langid.min_score" else None for rule in rules]
    return with_verdicts(batch, rules, scores, limits, details)


STAGE = Stage(
    name="langid",
    version=1,
    summary="Identify the language; keep the ones listed.",
    config=LangId,
    libraries=lambda config: ("py3langid",),
    resources=lambda config: Resources(state_bytes=MODEL_BYTES),
    expected=lambda config: (0.01, 1.0),
    rules=lambda config: {"langid.keep": "confidence", "langid.min_score": "confidence"},
    limits=lambda config: {"langid.min_score": config.min_score},
    phases=(Phase("apply", "each", open=open_model, apply=apply),),
)
