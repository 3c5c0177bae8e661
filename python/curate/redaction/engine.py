"""presidio's recognizers, and a user's model for names, in the child process of extract/sandbox.py.

    text --analyze--> [[start, end, type], …] as JSON, bytes of the text

Only the recognizers of the types asked for are made, on an engine that loads no language model, so that nothing is
downloaded: the list of top-level domains that the e-mail recognizer compares with is the one inside its package.
Of overlapping spans the one with the higher score stays, then the longer, then the earlier.

A model is a folder: a spaCy pipeline with a named entity recognizer, or a GLiNER model.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from curate.errors import ConfigError
from curate.redaction.kinds import BY_MODEL, ENTITIES

RECOGNIZERS = {
    "email": "EmailRecognizer",
    "ip": "IpRecognizer",
    "phone": "PhoneRecognizer",
    "card": "CreditCardRecognizer",
    "iban": "IbanRecognizer",
    "ssn": "UsSsnRecognizer",
    "mac": "MacAddressRecognizer",
    "wallet": "CryptoRecognizer",
}
"""The class of presidio that finds each type."""

LABELS = {
    "person": ("person", "per", "name"),
    "location": ("location", "loc", "gpe", "fac"),
    "organization": ("organization", "organisation", "org", "corporation", "group"),
}
"""Labels that models write for each type, in lower case."""

SPACY, GLINER = ("config.cfg", "meta.json"), ("gliner_config.json", "model.safetensors")
"""Files by which a folder is known as a model of this form."""

NAME_SCORE = 0.85  # of a name that a spaCy pipeline found: it tells no score
SPACY_PIECE, GLINER_PIECE = 20_000, 1_000  # characters that a model reads at once
LEAST_SCORE = 0.1  # of what is asked of a GLiNER model, before `min_score`
Span = tuple[int, int, str, float]  # first character, end, type, score 0..1


def model_form(path: str) -> Literal["spacy", "gliner"]:
    """What kind of model a folder holds; ConfigError, which says what to give, where it holds none."""
    folder = Path(path).expanduser()
    wanted = f"the folder of a spaCy pipeline ({', '.join(SPACY)}) or of a GLiNER model ({', '.join(GLINER)})"
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ConfigError(f"redact.model: {path} {what}: give {wanted}; nothing is downloaded")
    for form, files in (("spacy", SPACY), ("gliner", GLINER)):
        if all((folder / name).is_file() for name in files):
            return form  # type: ignore[return-value]
    found = sorted(entry.name for entry in folder.iterdir())
    has = ", ".join(found[:5]) + (", …" if len(found) > 5 else "") if found else "nothing"
    raise ConfigError(f"redact.model: {path} is no model, it holds {has}: give {wanted}")


def model_files(path: str) -> list[str]:
    """All files of a model's folder, sorted."""
    model_form(path)
    return sorted(str(file) for file in Path(path).expanduser().rglob("*") if file.is_file())


def analyze(page: bytes, *, types: Sequence[str], model: str | None, min_score: float, probe: bool = False) -> str:
    """The entry of the child process: the spans of a text (UTF-8) as JSON. With `probe` the recognizers are only made.

    What a recognizer raises may quote the text, so that its type alone is passed on.
    """
    recognizers = _recognizers(tuple(types), model)
    if probe:
        return "[]"
    text = page.decode("utf-8")
    try:
        spans = [span for recognize in recognizers for span in recognize(text) if span[3] >= min_score]
    except MemoryError:
        raise
    except Exception as error:
        raise RuntimeError(f"a recognizer raised {type(error).__name__}") from None
    return json.dumps(list(_in_bytes(text, _apart(spans))))


def _apart(spans: list[Span]) -> list[tuple[int, int, str]]:
    """Spans that do not overlap, in order."""
    kept: list[tuple[int, int, str]] = []
    taken: set[int] = set()
    for start, end, kind, _ in sorted(spans, key=lambda s: (-s[3], s[0] - s[1], s[0], s[2])):
        if start < end and taken.isdisjoint((start, end - 1)) and taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            kept.append((start, end, kind))
    return sorted(kept)


def _in_bytes(text: str, spans: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Sorted spans of characters as spans of bytes."""
    characters = places = 0
    for start, end, kind in spans:
        first = places + len(text[characters:start].encode())
        characters, places = end, first + len(text[start:end].encode())
        yield first, places, kind


def _pieces(text: str, size: int) -> Iterator[tuple[int, str]]:
    """(first character, piece): the text in pieces of at most `size` characters, cut behind a line end where there is
    one in the second half, else behind a space: models take memory by the length of what they read at once."""
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            cuts = (text.rfind(sign, start + size // 2, end) + 1 for sign in "\n ")
            end = next((cut for cut in cuts if cut), end)
        yield start, text[start:end]
        start = end


Recognize = Callable[[str], Iterator[Span]]


@cache
def _recognizers(types: tuple[str, ...], model: str | None) -> list[Recognize]:
    """What finds these types."""
    if not _needs_torch(model):
        # presidio and spaCy import these where they are installed: seconds, and more address space than all the rest.
        sys.modules.update(dict.fromkeys(("torch", "transformers", "tensorflow", "gliner", "stanza")))  # type: ignore[arg-type]
    names = [kind for kind in types if kind in BY_MODEL]
    patterns = [kind for kind in types if kind not in BY_MODEL]
    found = [_presidio(patterns)] if patterns else []
    if names and model:
        found.append((_spacy if model_form(model) == "spacy" else _gliner)(model, names))
    return found


def _needs_torch(model: str | None) -> bool:
    """Whether a model runs on PyTorch: GLiNER's, and a pipeline whose configuration names it or a transformer."""
    if model is None or model_form(model) == "gliner":
        return model is not None
    config = (Path(model).expanduser() / "config.cfg").read_text(errors="replace").lower()
    return "transformer" in config or "torch" in config


def _presidio(types: Sequence[str]) -> Recognize:
    """presidio's pattern recognizers of these types."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    # Its default asks the network for the list of top-level domains.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    recognizers = [getattr(predefined_recognizers, RECOGNIZERS[kind])() for kind in types]
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    nothing = NoOpNlpEngine([{"lang_code": "en", "model_name": "no_op"}])
    nothing.load()
    engine = AnalyzerEngine(registry=registry, nlp_engine=nothing, supported_languages=["en"])
    wanted = [entity for entity, kind in ENTITIES.items() if kind in types]

    def recognize(text: str) -> Iterator[Span]:
        for hit in engine.analyze(text, "en", entities=wanted):
            yield hit.start, hit.end, ENTITIES[hit.entity_type], float(hit.score)

    return recognize


def _spacy(model: str, names: Sequence[str]) -> Recognize:
    """The names that a spaCy pipeline finds."""
    import spacy

    pipeline = spacy.load(Path(model).expanduser())
    if "ner" not in pipeline.pipe_names:
        has = ", ".join(pipeline.pipe_names) or "nothing"
        raise ConfigError(f"redact.model: {model} has no named entity recognizer (ner), its pipeline has {has}")
    kinds = {label: kind for kind in names for label in LABELS[kind]}

    def recognize(text: str) -> Iterator[Span]:
        for start, piece in _pieces(text, SPACY_PIECE):
            for entity in pipeline(piece).ents:
                if kind := kinds.get(entity.label_.lower()):
                    yield start + entity.start_char, start + entity.end_char, kind, NAME_SCORE

    return recognize


def _gliner(model: str, names: Sequence[str]) -> Recognize:
    """The names that a GLiNER model finds."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    from gliner import GLiNER

    loaded: Any = GLiNER.from_pretrained(str(Path(model).expanduser()), local_files_only=True)

    def recognize(text: str) -> Iterator[Span]:
        for start, piece in _pieces(text, GLINER_PIECE):
            for entity in loaded.predict_entities(piece, list(names), threshold=LEAST_SCORE):
                yield start + entity["start"], start + entity["end"], entity["label"], float(entity["score"])

    return recognize
