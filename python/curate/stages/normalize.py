"""normalize: one way to write the same text, keeping paragraphs and the indentation of code.

Characters are composed (NFC). Line ends become \\n. Control characters, byte order marks, soft hyphens and zero-width
spaces are removed; the joiners U+200C and U+200D stay, since Persian, Indic scripts and emoji need them. Typographic
and no-break spaces become plain ones. White space at line ends is removed, and so are empty lines at both ends of the
text; more than `max_blank_lines` empty lines in a row become that many. Spaces inside a line stay: they align code
and tables.
"""

import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.config import Settings, setting
from curate.stages.protocol import Applied, Phase, Side, Stage, with_column, with_verdicts


class Normalize(Settings):
    """What is left to choose; all else is fixed, so that equal texts become equal bytes in every run."""

    max_blank_lines: int = setting(2, "empty lines in a row that stay", ge=1)


def open_state(config: Normalize, side: Side) -> int:
    return config.max_blank_lines


def apply(batch: pa.RecordBatch, max_blank_lines: int) -> Applied:
    """Replaces the texts, and drops the rows whose text has no character left but white space."""
    texts = kernels.tidy(batch.column("text"), max_blank_lines)
    empty = pc.equal(pc.ascii_trim(texts, " \t\n"), "")
    rules = pc.if_else(empty, "normalize.empty", pa.scalar(None, pa.string()))
    return with_verdicts(with_column(batch, "text", texts), rules, 0.0, 1.0)


STAGE = Stage(
    name="normalize",
    version=1,
    summary="Unicode, control characters, line ends and white space.",
    config=Normalize,
    expected=lambda config: (0.5, 1.0),
    rules=lambda config: {"normalize.empty": "characters"},
    phases=(Phase("apply", "each", open=open_state, apply=apply),),
)
