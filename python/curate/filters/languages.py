"""Other limits and stop words by language, from a YAML file, as FineWeb-2 has them.

    fr:
      limits: {gopher.max_word_length: 11, gopher.alpha_words: 0.812}
      without: [gopher.hashes]
      stop_words: [de, la, et, les]

Keys are languages as the column `lang` has them; a document of another language, or of none, goes by the limits of the
step. Stop words replace Gopher's English ones in datatrove_n_stop_words, and are compared as written.
"""

from collections.abc import Sequence
from pathlib import Path

from curate.config import Settings, load_yaml, setting, suggest, validate
from curate.errors import ConfigError
from curate.filters.rules import Rule


class Language(Settings):
    """How one language differs from the step."""

    limits: dict[str, float] = setting({}, "other limits, by rule name")
    without: list[str] = setting([], "rules to leave out")
    stop_words: list[str] = setting([], "stop words in place of Gopher's English ones")


def read_languages(path: str | Path, rules: Sequence[Rule], lines: Sequence[str] = ()) -> dict[str, Language]:
    """The languages of a file, checked against the rules of the step. `lines` are names of its rules on lines.

    Every mistake is a ConfigError with the file and line.
    """
    document = load_yaml(path)
    if not isinstance(document.data, dict) or not document.data:
        raise ConfigError(f"{path}: a file of languages holds `fr: {{limits: ...}}`; this one does not")
    names = [rule.name for rule in rules]
    found = {}
    for lang, entry in document.data.items():
        location = (lang,)
        language = validate(Language, {} if entry is None else entry, document, location, str(lang))
        where = f"{document.at(location)}: {lang}"
        for name in (*language.limits, *language.without):
            if name in lines:
                raise ConfigError(f"{where}: {name} cuts lines, and does so in the same way in all languages")
            if name not in names:
                raise ConfigError(f'{where}: no rule of the step is named "{name}"{suggest(name, names)}')
        if "stop_words" in language.model_fields_set and not language.stop_words:
            raise ConfigError(f"{where}: stop_words is empty; leave it out for Gopher's, or name words")
        if not (language.limits or language.without or language.stop_words):
            raise ConfigError(f"{where}: says nothing; give it limits, without or stop_words")
        found[str(lang)] = language
    return found
