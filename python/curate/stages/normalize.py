"""normalize: one way to write the same text, keeping paragraphs and the indentation of code.

Lines that are UTF-8 read as another encoding ("itâ€™s") are repaired by ftfy, which is asked only about lines that can
be such: quotes, full-width characters and HTML entities stay as they are, ligatures become letters. Characters are
composed (NFC). Line ends become \\n. Control characters, byte order marks, soft hyphens and zero-width spaces are
removed; the joiners U+200C and U+200D stay, since Persian, Indic scripts and emoji need them. Typographic and no-break
spaces become plain ones. White space at line ends is removed, and so are empty lines at both ends of the text; more
than `max_blank_lines` empty lines in a row become that many. Spaces inside a line stay: they align code and tables.

`lowercase` and `strip_accents` are for models without a tokenizer of their own. A second normalize step with
`only: {lang: [...]}` sets them for some languages.
"""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, lookups
from curate.config import Settings, setting
from curate.stages.protocol import Applied, Phase, Side, Stage, with_column, with_verdicts

# Encodings that UTF-8 is taken for, as ftfy knows them; a byte that is none in one of them is a control character.
ENCODINGS = ("latin-1", "cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "iso8859_2", "mac_roman", "cp437")


class Normalize(Settings):
    """What is left to choose; all else is fixed, so that equal texts become equal bytes in every run."""

    max_blank_lines: int = setting(2, "empty lines in a row that stay", ge=1)
    mojibake: bool = setting(True, "repair text that was decoded from the wrong encoding, by ftfy")
    lowercase: bool = setting(False, "lower-case the text")
    strip_accents: bool = setting(False, "remove accents and other marks U+0300 to U+036F: é becomes e, й и")


_MARKS = re.compile("[\u0300-\u036f]+")
_ACCENTED = range(0xC0, 0x2000)  # where composed letters with marks U+0300 to U+036F stand in NFC


class State:
    """The gate, the expressions and what replaces them, made once a worker."""

    def __init__(self, config: Normalize, side: Side | None = None) -> None:
        self.config = config
        self.accents = _bare_letters() if config.strip_accents else {}
        self.gate: lookups.MojibakeGate | None = None
        if config.mojibake:
            import ftfy
            from ftfy.chardata import LIGATURES

            self.gate = lookups.MojibakeGate([_characters(name) for name in ENCODINGS], "".join(map(chr, LIGATURES)))
            self.fix = ftfy.fix_text
            self.fixes = ftfy.TextFixerConfig(
                unescape_html=False, uncurl_quotes=False, fix_character_width=False, fix_line_breaks=False,
                fix_surrogates=False, remove_terminal_escapes=False, remove_control_chars=False, normalization=None,
                explain=False,
            )  # fmt: skip


def _characters(encoding: str) -> str:
    """The characters of bytes 80 to FF in an encoding."""
    return "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in range(0x80, 0x100))


def _bare_letters() -> dict[int, str]:
    """Composed letter -> the same without marks."""
    bare = {}
    for code in _ACCENTED:
        decomposed = unicodedata.normalize("NFD", chr(code))
        if stripped := _MARKS.sub("", decomposed):
            bare[code] = unicodedata.normalize("NFC", stripped)
    return {code: text for code, text in bare.items() if text != chr(code)}


def repaired(column: pa.Array, state: State) -> pa.Array:
    """The texts with mojibake repaired. ftfy sees the lines that may need it; a line is what it repairs at once."""
    if state.gate is None:
        return column
    rows, starts, ends = (np.asarray(found) for found in state.gate.lines(column))
    if not len(rows):
        return column
    changed, first = np.unique(rows, return_index=True)
    last = np.append(first, len(rows))[1:]
    texts = []
    for row, begin, end in zip(changed.tolist(), first.tolist(), last.tolist(), strict=True):
        content, made, done = column[row].as_py().encode(), [], 0
        for start, stop in zip(starts[begin:end].tolist(), ends[begin:end].tolist(), strict=True):
            fixed = state.fix(content[start:stop].decode(), state.fixes)
            made += [content[done:start], fixed.encode("utf-8", "replace")]
            done = stop
        texts.append(b"".join([*made, content[done:]]).decode())
    mask = np.zeros(len(column), bool)
    mask[changed] = True
    return pc.replace_with_mask(column, pa.array(mask), pa.array(texts, column.type))


def normalize(column: pa.Array, state: State) -> pa.Array:
    """Texts in their one form; with `mojibake` off, normalizing these again changes nothing."""
    made, config = repaired(column, state), state.config
    if config.lowercase:
        made = pa.array([text.lower() for text in made.to_pylist()], pa.large_string())
    if config.strip_accents:
        texts = kernels.nfc(made).to_pylist()
        bare = [text if text.isascii() else _MARKS.sub("", text.translate(state.accents)) for text in texts]
        made = pa.array(bare, pa.large_string())
    return kernels.tidy(made, config.max_blank_lines)


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Replaces the texts, and drops the rows whose text has no character left but white space."""
    texts = normalize(batch.column("text"), state)
    empty = pc.equal(pc.ascii_trim(texts, " \t\n"), "")
    rules = pc.if_else(empty, "normalize.empty", pa.scalar(None, pa.string()))
    return with_verdicts(with_column(batch, "text", texts), rules, 0.0, 1.0)


STAGE = Stage(
    name="normalize",
    version=3,
    summary="Unicode, control characters, line ends and white space.",
    config=Normalize,
    libraries=lambda config: ("ftfy",) if config.mojibake else (),
    expected=lambda config: (0.5, 1.0),
    rules=lambda config: {"normalize.empty": "characters"},
    phases=(Phase("apply", "each", open=State, apply=apply),),
)
