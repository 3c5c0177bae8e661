"""normalize: one way to write the same text, keeping paragraphs and the indentation of code.

Characters are composed (NFC). Line ends become \\n. Control characters, byte order marks, soft hyphens and zero-width
spaces are removed; the joiners U+200C and U+200D stay, since Persian, Indic scripts and emoji need them. Typographic
and no-break spaces become plain ones. White space at line ends is removed, and so are empty lines at both ends of the
text; more than `max_blank_lines` empty lines in a row become that many. Spaces inside a line stay: they align code
and tables.
"""

import re

import pyarrow as pa

from curate import kernels
from curate.config import Settings, setting
from curate.stages.protocol import Applied, Phase, Side, Stage, with_column, with_verdicts


class Normalize(Settings):
    """What is left to choose; all else is fixed, so that equal texts become equal bytes in every run."""

    max_blank_lines: int = setting(2, "empty lines in a row that stay", ge=1)


# Carriage returns; vertical tab, form feed, next line (NEL), and the line and paragraph separators of Unicode.
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# C0 and C1 controls but tab and line ends; soft hyphen, zero-width space, word joiner, byte order mark, noncharacters.
_REMOVED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\ufdd0-\ufdef\ufffe\uffff]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_TRAILING = re.compile("(?<![ \t])[ \t]+$", re.MULTILINE)  # one try a run of blanks: linear time


class State:
    """The expression for too many empty lines and what replaces it, compiled once a worker."""

    def __init__(self, config: Normalize) -> None:
        self.blank = re.compile(f"\n{{{config.max_blank_lines + 2},}}")
        self.lines = "\n" * (config.max_blank_lines + 1)


def open_state(config: Normalize, side: Side) -> State:
    return State(config)


def normalize(texts: list[str], state: State) -> list[str]:
    """Texts in their one form; normalizing these again changes nothing.

    NFC is that of the Rust core: CPython's takes time with the square of the length of a run of combining marks.
    """
    plain = pa.array(
        [_SPACES.sub(" ", _REMOVED.sub("", _LINE_ENDS.sub("\n", text))) for text in texts], pa.large_string()
    )
    return [
        state.blank.sub(state.lines, _TRAILING.sub("", text).strip("\n")) for text in kernels.nfc(plain).to_pylist()
    ]


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Replaces the texts, and drops the rows whose text has no character left but white space."""
    texts = normalize(batch.column("text").to_pylist(), state)
    batch = with_column(batch, "text", pa.array(texts, pa.large_string()))
    return with_verdicts(batch, [None if text.strip() else "normalize.empty" for text in texts], 0.0, 1.0)


STAGE = Stage(
    name="normalize",
    version=1,
    summary="Unicode, control characters, line ends and white space.",
    config=Normalize,
    expected=lambda config: (0.5, 1.0),
    rules=lambda config: {"normalize.empty": "characters"},
    phases=(Phase("apply", "each", open=open_state, apply=apply),),
)
