"""Other limits and stop words by language or label, from a YAML file, as FineWeb-2 and GneissWeb have them.

    fr:
      limits: {gopher.max_word_length: 11, gopher.alpha_words: 0.812}
      without: [gopher.hashes]
      stop_words: [de, la, et, les]

Keys are values of a column of the documents, `lang` unless the step names another; a document of another value, or of
none, goes by the limits of the step. Stop words replace Gopher's English ones in datatrove_n_stop_words, and are
compared as written.
"""

from collections.abc import Sequence
from pathlib import Path

from curate.config import Settings, load_yaml, setting, suggest, validate
from curate.errors import ConfigError
from curate.filters.rules import Rule


class Group(Settings):
    """How the documents of one language, or of one label, differ from the step."""

    limits: dict[str, float] = setting({}, "other limits, by rule name")
    without: list[str] = setting([], "rules to leave out")
    stop_words: list[str] = setting([], "stop words in place of Gopher's English ones")


def read_groups(path: str | Path, rules: Sequence[Rule], lines: Sequence[str] = ()) -> dict[str, Group]:
    """The groups of a file, checked against the rules of the step. `lines` are names of its rules on lines.

    Every mistake is a ConfigError with the file and line.
    """
    document = load_yaml(path)
    if not isinstance(document.data, dict) or not document.data:
        raise ConfigError(f"{path}: a file of groups holds `fr: {{limits: ...}}`; this one does not")
    limited = [part.name for rule in rules for part in rule.parts]
    found = {}
    for value, entry in document.data.items():
        location = (value,)
        group = validate(Group, {} if entry is None else entry, document, location, str(value))
        where = f"{document.at(location)}: {value}"
        for names, known in ((group.limits, limited), (group.without, [rule.name for rule in rules])):
            for name in names:
                if name in lines:
                    raise ConfigError(f"{where}: {name} cuts lines, and does so in the same way in all documents")
                if name not in known:
                    raise ConfigError(f'{where}: no rule of the step is named "{name}"{suggest(name, known)}')
        if "stop_words" in group.model_fields_set and not group.stop_words:
            raise ConfigError(f"{where}: stop_words is empty; leave it out for Gopher's, or name words")
        if not (group.limits or group.without or group.stop_words):
            raise ConfigError(f"{where}: says nothing; give it limits, without or stop_words")
        found[str(value)] = group
    return found
