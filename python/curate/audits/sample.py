"""A sample of the user's own documents, in which an audit plants what it looks for."""

import hashlib
import re

from curate.errors import ConfigError
from curate.io.inputs import InputSettings, cut, list_files, reads_raw
from curate.io.read import ReadCounts, read

WORD = re.compile(r"\w+")


def sample(inputs: list[InputSettings], size: int, seed: int, min_words: int) -> list[str]:
    """Texts of `size` documents with at least `min_words` words: those whose doc_id, hashed with the seed, comes first.

    Fewer where the inputs have fewer. Raises ConfigError where there is none, or the inputs are pages without text.
    """
    found: list[tuple[bytes, str]] = []
    for task in cut(list_files(inputs), None):
        if reads_raw(task.slices):
            raise ConfigError("an audit reads documents with text: run `curate extract` first and give its folder")
        for rows in read(task, ReadCounts()):
            columns = (rows.batch.column(name).to_pylist() for name in ("doc_id", "text"))
            for identity, text in zip(*columns, strict=True):
                if text and len(text) > 4 * min_words and len(WORD.findall(text)) >= min_words:
                    found.append((hashlib.sha256(b"%d " % seed + identity).digest(), text))
        found = sorted(found)[:size]
    if not found:
        raise ConfigError(f"no document of the input has {min_words} words or more: there is nothing to plant")
    return [text for _, text in found]
