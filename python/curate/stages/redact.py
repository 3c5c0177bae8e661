"""redact: personal values in texts are replaced; no reject of the run holds what they were.

By default e-mail addresses, public IP addresses (v4 and v6), phone numbers, payment cards, IBANs and US social
security numbers, found by patterns and their checks; on demand hardware addresses, crypto wallets, API keys and
private keys. A placeholder has the type and the number of the value: equal values of a document have one number
(<EMAIL_1>). `style: realistic` puts made-up values of the same form in their place, which belong to nobody
(reader1@example.org); wallets, keys and names keep placeholders.

    types: [email, phone]           only these
    placeholder: "|||{type}|||"     without numbers
    max_hits: 50                    a document with more is dropped

`engine: presidio` uses the recognizers of presidio (the extra `pii`), far slower, in a child process that is ended
where a document takes too long; names, places and organizations need a `model` of yours: the folder of a spaCy
pipeline or, untested so far, of a GLiNER model. What that engine cannot read to the end is dropped (redact.too_large,
redact.timeout, redact.error), since nobody knows what it holds, and no reject of the run shows the beginning of a text.
A recipe may have both: a step with the patterns, and one with `engine: presidio` for the types person, location,
organization.

Every replacement is a row of the rejects with the action `cut` and its span, and counts in n_redactions. The documents
of earlier passes, which a run keeps to continue from, hold the text as it was: `keep: none` removes them when the run
has ended. Other columns of documents (url, title, extra and your own) are left as they are.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from curate import kernels, schema
from curate.config import ByteSize, Settings, setting, suggest
from curate.errors import ConfigError
from curate.extract.sandbox import Crashed, Sandbox, Timeout, remark
from curate.redaction.engine import RECOGNIZERS, analyze, model_files, model_form
from curate.redaction.kinds import BY_MODEL, BY_PATTERN, EVERYTHING, ON_DEMAND, TYPES
from curate.stages.protocol import Applied, Failures, Phase, Resources, Side, Stage, with_column

CHILD_BYTES = 250_000_000  # private memory of the engine's server and child, with a small model; measured
REFUSALS = {"redact.too_large": "bytes", "redact.timeout": "seconds", "redact.error": ""}
"""Rule of a document that the engine cannot read -> unit of its value."""


class Redact(Settings):
    """Which values are replaced, by what, and how they are found."""

    types: list[str] = setting(
        list(BY_PATTERN),
        f"what is replaced; also {', '.join(ON_DEMAND)}, and by a model {', '.join(BY_MODEL)}",
        min_length=1,
    )
    style: Literal["placeholder", "realistic"] = setting(
        "placeholder", "what stands for a value: a placeholder, or a made-up value of the same form"
    )
    placeholder: str = setting("<{type}_{n}>", "{type} in it is the type, {n} the number of the value in its document")
    max_hits: int | None = setting(None, "a document with more values is dropped", unit="values", ge=0)
    engine: Literal["patterns", "presidio"] = setting("patterns", "what finds them")
    model: str | None = setting(
        None, "folder of a spaCy pipeline or (untested) GLiNER model, for names (presidio only)"
    )
    min_score: float = setting(0.4, "least score of what an engine finds (presidio only)", unit="0..1", ge=0, le=1)
    max_bytes: ByteSize = setting(1 << 20, "larger documents are dropped (presidio only)", unit="bytes", ge=1)
    timeout: float = setting(
        10.0, "time a document may take, without that of a busy machine, before it is dropped (presidio only)",
        unit="seconds", gt=0,
    )  # fmt: skip
    engine_memory: ByteSize = setting(
        4 << 30, "address space of the engine's process (presidio only)", unit="bytes", ge=1 << 28
    )
    max_failures: float = setting(
        0.05, "the run stops where a larger share of documents is dropped as redact.error or redact.timeout",
        unit="0..1", ge=0, le=1,
    )  # fmt: skip

    @field_validator("types")
    @classmethod
    def _known(cls, types: list[str]) -> list[str]:
        for name in types:
            if name not in TYPES:
                raise ValueError(f'no type is named "{name}"{suggest(name, list(TYPES))}')
        return sorted(set(types), key=TYPES.index)

    @field_validator("placeholder")
    @classmethod
    def _formed(cls, placeholder: str) -> str:
        rest = placeholder.replace("{type}", "").replace("{n}", "")
        if "{" in rest or "}" in rest:
            raise ValueError(f'only {{type}} and {{n}} can stand in braces, found "{placeholder}"')
        return placeholder


def check(config: Redact) -> None:
    """Raise ConfigError where the engine cannot find what is asked for, with what to give."""
    named = [kind for kind in config.types if kind in BY_MODEL]
    if config.engine == "patterns":
        if named:
            raise ConfigError(
                f"redact.types: no pattern finds {', '.join(named)}: set `engine: presidio` and `model`, or leave them"
                " out (a second redact step may have them)"
            )
        if config.model is not None:
            raise ConfigError("redact.model: patterns use no model: set `engine: presidio`, or leave `model` out")
        return
    if named and config.model is None:
        raise ConfigError(
            f"redact.types: {', '.join(named)} need `model`: the folder of a spaCy pipeline or of a GLiNER model;"
            " nothing is downloaded"
        )
    unknown = [kind for kind in config.types if kind not in BY_MODEL and kind not in RECOGNIZERS]
    if unknown:
        raise ConfigError(f"redact.types: presidio has no recognizer for {', '.join(unknown)}: use `engine: patterns`")
    if config.model is not None and model_form(config.model) == "gliner" and find_spec("gliner") is None:
        raise ConfigError(
            f"redact.model: {config.model} is a GLiNER model, which the package gliner reads; it is not installed"
        )
    if find_spec("presidio_analyzer") is None:
        raise ConfigError("redact.engine: presidio is not installed: install the extra `pii` of this package")


def _files(config: Redact) -> dict[str, Sequence[str]]:
    """The files of the model; what cannot be used is told before any work."""
    check(config)
    return {"model": model_files(config.model) if config.model is not None else []}


class Spans(NamedTuple):
    """Values found in a batch, by row and start, which do not overlap within a row."""

    row: pa.Array  # uint32
    start: pa.Array  # uint32, bytes of the row's text
    end: pa.Array
    kind: pa.Array  # string

    def filter(self, mask: pa.Array) -> "Spans":
        """The spans for which `mask` is true."""
        return Spans(*(column.filter(mask) for column in self))


class State:
    """The settings and, with `engine: presidio`, the child process that runs it; one a worker.

    Raises ConfigError where the engine or the model cannot be used.
    """

    def __init__(self, config: Redact, side: Side | None = None) -> None:
        check(config)
        self.config = config
        self.sandbox: Sandbox | None = None
        self.asked = {"types": config.types, "model": config.model, "min_score": config.min_score}
        if config.engine == "presidio":
            self.sandbox = Sandbox(
                f"{analyze.__module__}:{analyze.__name__}",
                timeout=config.timeout, memory_bytes=config.engine_memory, prepare={**self.asked, "probe": True},
            )  # fmt: skip
            try:
                self.sandbox.open()
            except (Crashed, Timeout) as error:
                self.sandbox.close()
                raise ConfigError(f"redact: engine presidio cannot be used: {error}") from None

    def find(self, text: pa.Array) -> tuple[Spans, dict[int, dict[str, Any]]]:
        """The values in a column of texts, and row -> verdict of the texts that could not be read to the end."""
        if self.sandbox is None:
            return Spans(*kernels.find_personal(text, kinds=self.config.types)), {}
        refused: dict[int, dict[str, Any]] = {}
        found: list[tuple[int, int, int, str]] = []
        for row, value in enumerate(text):
            data = value.as_py().encode()
            if len(data) > self.config.max_bytes:
                most = self.config.max_bytes
                refused[row] = {"rule": "redact.too_large", "value": len(data), "limit": most}
                continue
            try:
                found += [(row, *span) for span in json.loads(self.sandbox.call(data, **self.asked))]
            except Timeout as error:
                limit = self.config.timeout
                refused[row] = {"rule": "redact.timeout", "value": limit, "limit": limit, "detail": str(error)}
            except Crashed as error:
                refused[row] = {"rule": "redact.error", "detail": str(error)}
        rows, starts, ends, kinds = zip(*found, strict=True) if found else ((), (), (), ())
        row_of, start, end = (pa.array(column, pa.uint32()) for column in (rows, starts, ends))
        return Spans(row_of, start, end, pa.array(kinds, pa.string())), refused

    def replaced(self, text: pa.Array, spans: Spans) -> pa.Array:
        """The texts with every value replaced."""
        config = self.config
        return kernels.replace_spans(
            text, *spans, placeholder=config.placeholder, realistic=config.style == "realistic"
        )


def close(state: State) -> None:
    """End the child process, if there is one."""
    if state.sandbox:
        state.sandbox.close()


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Replaces the values; n_redactions grows by their number, and each is a mark in bytes of the text before.

    A document that is dropped keeps its text, of which its reject shows nothing.
    """
    config, text = state.config, batch.column("text")
    spans, refused = state.find(text)
    counts = np.bincount(spans.row.to_numpy(), minlength=batch.num_rows)
    if config.max_hits is not None:
        for row in np.flatnonzero(counts > config.max_hits).tolist():
            refused[row] = {"rule": "redact.too_many", "value": int(counts[row]), "limit": config.max_hits}
    if refused:
        dropped = pa.array(list(refused), pa.uint32())
        spans = spans.filter(pc.invert(pc.is_in(spans.row, value_set=dropped)))
        counts[list(refused)] = 0
    text = state.replaced(text, spans)
    # A recipe may redact twice, and the input may have been redacted: counts add up.
    before = pc.fill_null(batch.column("n_redactions"), 0).to_numpy()
    total = (before + counts).astype(np.uint32)
    batch = with_column(with_column(batch, "text", text), "n_redactions", pa.array(total))
    verdicts = None
    if refused:
        rows = [{**refused.get(row, {}), "action": None} for row in range(batch.num_rows)]
        verdicts = pa.RecordBatch.from_pylist(rows, schema.VERDICT)
    return Applied(batch, verdicts, marks=_marks(spans))


def _marks(spans: Spans) -> pa.RecordBatch:
    """MARK rows, one a span; no text is copied."""
    rule = pc.binary_join_element_wise("redact", spans.kind, ".")
    return schema.marks(spans.row, "cut", rule, spans.start, spans.end)


def _rules(config: Redact) -> dict[str, str]:
    """Rule -> unit of its value; only what these settings can do."""
    rules = {f"redact.{kind}": "" for kind in config.types}
    rules |= {"redact.too_many": "values"} if config.max_hits is not None else {}
    return rules | (REFUSALS if config.engine == "presidio" else {})


def _limits(config: Redact) -> dict[str, float]:
    limits: dict[str, float] = {} if config.max_hits is None else {"redact.too_many": config.max_hits}
    if config.engine == "presidio":
        limits |= {"redact.too_large": config.max_bytes, "redact.timeout": config.timeout}
    return limits


def _remarks(config: Redact) -> list[str]:
    """What the engine's process can do on this machine although it should not."""
    if config.engine == "patterns":
        return []
    return [remark("redact: presidio")]


def _libraries(config: Redact) -> Sequence[str]:
    if config.engine == "patterns":
        return ()
    return ("presidio-analyzer", "spacy", "phonenumbers", "tldextract", *(("gliner",) if config.model else ()))


STAGE = Stage(
    name="redact",
    version=3,
    summary="Replace personal values: addresses, numbers, keys.",
    config=Redact,
    private=True,
    hides=lambda config: [*config.types, EVERYTHING] if config.engine == "presidio" else config.types,
    resources=lambda config: Resources(state_bytes=CHILD_BYTES if config.engine == "presidio" else 0),
    rules=_rules,
    limits=_limits,
    files=_files,
    libraries=_libraries,
    remarks=_remarks,
    failures=lambda config: (
        Failures(("redact.error", "redact.timeout"), config.max_failures, "max_failures")
        if config.engine == "presidio"
        else None
    ),
    # All but max_failures, which changes no row.
    phases=(
        Phase(
            "apply",
            "each",
            open=State,
            apply=apply,
            close=close,
            side=("model",),
            settings=tuple(name for name in Redact.model_fields if name != "max_failures"),
        ),
    ),
)
