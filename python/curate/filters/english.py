"""The words of spaCy's English tokenizer, which datatrove counts: the patterns of the installed spaCy, run in Rust."""

from functools import cache
from importlib.util import find_spec
from typing import Any

from curate import kernels
from curate.errors import ConfigError

_ORTH = 65  # spaCy's number of the attribute that holds a word's text


def check() -> None:
    """Raise ConfigError where spaCy is not installed; nothing is imported."""
    if find_spec("spacy") is None:
        raise ConfigError("spacy needs the package of that name: install curate-train[spacy], or take unicode")


@cache
def load() -> kernels.English:
    """The tokenizer of the installed spaCy, once a process. ConfigError where there is none."""
    check()
    import spacy

    tokenizer: Any = spacy.blank("en").tokenizer
    special = [(text, [word[_ORTH] for word in words]) for text, words in sorted(tokenizer.rules.items())]
    return kernels.English(
        prefix=tokenizer.prefix_search.__self__.pattern,
        suffix=tokenizer.suffix_search.__self__.pattern,
        infix=tokenizer.infix_finditer.__self__.pattern,
        url=tokenizer.url_match.__self__.pattern,
        special=special,
    )
