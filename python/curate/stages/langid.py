"""langid: the language of each document, from its first 1,000 characters (py3langid's bundled model).

The score is the model's probability softened by the text's length (softmax of score / sqrt(bytes)), so that one
limit serves short and long texts: .5 keeps 97 % of sentences, .65 is safe for documents. Text in which the model
finds nothing is `und`. The first 1,000 characters give the whole text's label on 99.8 % of pages.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from curate import schema
from curate.config import Settings, setting
from curate.stages.protocol import Phase, Side, Stage, with_column, with_verdict

NOTHING_FOUND = 0.02  # text without a known feature scores 1/142 for every language


class LangId(Settings):
    keep: list[str] = setting([], "languages to keep (ISO 639-1); empty keeps all")
    min_score: float = setting(0.0, "a document with a lower score is dropped", ge=0, le=1)
    characters: int = setting(1000, "read this much of the beginning", unit="characters", ge=50)


def open_model(config: LangId, side: Side) -> tuple[LangId, Any]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=NOTHING_FOUND)
    unknown = sorted(set(config.keep) - set(model.labels))
    if unknown:
        from curate.config import suggest
        from curate.errors import ConfigError

        raise ConfigError(f'langid.keep: no language is named "{unknown[0]}"{suggest(unknown[0], model.labels)}')
    return config, model


def apply(batch: pa.RecordBatch, state: tuple[LangId, Any]) -> pa.RecordBatch:
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
    return with_verdict(batch, rules, scores, limits, details)


STAGE = Stage(
    name="langid",
    version=1,
    summary="Identify the language; keep the ones listed.",
    config=LangId,
    libraries=("py3langid",),
    phases=(Phase("apply", "each", open=open_model, apply=apply),),
)
