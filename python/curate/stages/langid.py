"""langid: the language of each document, from its first 1,000 characters (py3langid's model, our kernel).

The score is the probability that the model gives the language, softened for the length of the text (the softmax is
taken of score / sqrt(bytes)), so that one limit serves short and long texts: 0.5 keeps 97 % of single sentences, and
0.65 is safe for documents. A text in which the model finds nothing it knows is `und`. On 99.8 % of pages the first
1,000 characters get the same label as the whole text.
"""

import pyarrow as pa
from pydantic import field_validator

from curate import kernels, language, schema
from curate.config import Settings, setting, suggest
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_column, with_verdicts

UNKNOWN = "und"  # the label of a text in which the model finds nothing it knows
NOTHING_FOUND = 0.02  # least score of a language; without a known feature each of 142 columns scores 1/142


class LangId(Settings):
    """Which languages stay, and how sure the model must be."""

    keep: list[str] = setting([], "languages to keep (ISO 639-1); empty keeps all")
    min_score: float = setting(0.0, "a document with a lower score is dropped", ge=0, le=1)
    characters: int = setting(1000, "read this much of the beginning", unit="characters", ge=50)

    @field_validator("keep")
    @classmethod
    def _known_languages(cls, keep: list[str]) -> list[str]:
        """ValueError, with the nearest known name, for a language that the model does not know."""
        labels = [*language.load().labels, UNKNOWN] if keep else []
        for name in keep:
            if name not in labels:
                raise ValueError(f'no language is named "{name}"{suggest(name, labels)}')
        return keep


def open_model(config: LangId, side: Side) -> tuple[LangId, kernels.Languages]:
    """The settings and the model, once a worker."""
    return config, language.load()


def apply(batch: pa.RecordBatch, state: tuple[LangId, kernels.Languages]) -> Applied:
    """Sets lang and lang_score; drops rows of another language, or with a score below the limit."""
    config, model = state
    columns, probabilities = model.identify(batch.column("text"), characters=config.characters)
    scores = probabilities.to_pylist()
    named = zip(columns.to_pylist(), scores, strict=True)
    langs = [model.labels[column] if score >= NOTHING_FOUND else UNKNOWN for column, score in named]
    batch = with_column(batch, "lang", pa.array(langs, pa.string()).dictionary_encode().cast(schema.CATEGORY))
    batch = with_column(batch, "lang_score", probabilities)
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
    version=2,
    summary="Identify the language; keep the ones listed.",
    config=LangId,
    libraries=lambda config: ("py3langid",),
    resources=lambda config: Resources(state_bytes=language.MODEL_BYTES),
    expected=lambda config: (0.01, 1.0),
    rules=lambda config: {"langid.keep": "confidence", "langid.min_score": "confidence"},
    limits=lambda config: {"langid.min_score": config.min_score},
    phases=(Phase("apply", "each", open=open_model, apply=apply),),
)
