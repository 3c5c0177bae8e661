"""The table of stages, in pipeline order, and `load`, which imports one.

A stage's module is imported only when a recipe or a command uses it: `curate --help` needs this table alone, and is
not to wait for pyarrow and pydantic.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from curate.errors import ConfigError

if TYPE_CHECKING:
    from curate.stages.protocol import Stage


class Entry(NamedTuple):
    """A stage as the list of commands shows it, before its module is imported."""

    name: str  # as recipes write it, and the name of its module; the command has hyphens: near-dedup
    summary: str  # that of its Stage


STAGES = (
    Entry("url_filter", "Drop documents whose address is on a list."),
    Entry("take_down", "Remove addresses, sites and doc_ids on request."),
    Entry("extract", "Main text out of HTML pages."),
    Entry("normalize", "Unicode, control characters, line ends and white space."),
    Entry("langid", "Identify the language; keep the ones listed."),
    Entry("filter", "Heuristic quality rules, by preset."),
    Entry("word_filter", "Drop documents with listed words, or replace these."),
    Entry("quality", "A quality score for each document; keep by score."),
    Entry("label", "A class for each document, by a classifier."),
    Entry("buckets", "Cut documents into buckets by score, within a label."),
    Entry("redact", "Replace personal values: addresses, numbers, keys."),
    Entry("exact_dedup", "Keep one of identical texts (SHA-256)."),
    Entry("near_dedup", "Keep one of near-identical texts (MinHash)."),
    Entry("semantic_dedup", "Keep one of texts with nearly the same words (vectors)."),
    Entry("line_dedup", "Cut lines that many documents share."),
    Entry("substring_dedup", "Cut stretches that stand in the corpus before."),
    Entry("holdout", "Set a share aside for evaluation, by cluster."),
    Entry("decontaminate", "Take benchmark items out of documents."),
    Entry("train_tokenizer", "Train a BPE or Unigram tokenizer."),
    Entry("tokenize", "Encode documents into token shards."),
    Entry("mix", "Plan how sources are mixed for training."),
)

CHECK_IDS = "check_ids"
"""A stage that no recipe names: a run puts it first where ids come from its inputs."""

NAMES = frozenset({CHECK_IDS, *(entry.name for entry in STAGES)})


def load(name: str, allow_code: Sequence[str] = ()) -> "Stage":
    """The stage called `name`: one of NAMES, or the user's Stage object or function that `package.module:NAME` names.

    `allow_code` are the packages of the user whose code the command line allows. Raises ConfigError where no stage has
    the name (with the nearest known one), where the user's package is not allowed or cannot be imported, and where the
    object is neither (protocol.of_function) or has the name of a stage of this package.
    """
    if ":" in name:
        from curate import plugins
        from curate.stages.protocol import Stage, of_function

        found = plugins.load(name, allow_code)
        if callable(found) and not isinstance(found, type):
            found = of_function(name, found)
        if not isinstance(found, Stage) or found.name in NAMES:
            what = (
                "uses the name of a stage of ours" if isinstance(found, Stage) else "is neither a Stage nor a function"
            )
            raise ConfigError(f"{name} {what}; see curate.stages.protocol")
        return found
    if name not in NAMES:
        from curate.config import suggest

        raise ConfigError(f'no stage is named "{name}"{suggest(name, [entry.name for entry in STAGES])}')
    stage: Stage = import_module(f"curate.stages.{name}").STAGE
    return stage
