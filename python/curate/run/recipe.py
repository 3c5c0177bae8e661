"""A recipe: inputs and an ordered list of steps, read, overridden and checked before any byte of data is read.

    version: 1
    inputs:
      - {path: crawl/*.warc.gz, source: web}
    steps:
      - extract
      - langid: {keep: [en]}
      - filter: {preset: gopher@dclm, only: {source: [web]}}

Resolving it gives every step its checked settings with all defaults; that form is written to run.yaml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curate import stages
from curate.config import Document, Settings, assign, load_yaml, parse_assignment, setting, suggest, validate
from curate.errors import ConfigError
from curate.io.inputs import InputSettings
from curate.stages.protocol import Stage


class Only(Settings):
    """The rows a step works on; others go through untouched and are counted."""

    source: list[str] | None = setting(None, "only documents of these sources")
    lang: list[str] | None = setting(None, "only documents in these languages (langid must come before)")


class RecipeSettings(Settings):
    """The keys of a recipe; each step's own settings are checked by its stage."""

    version: Literal[1] = setting(..., "format of this file")
    inputs: list[InputSettings] = setting([], "what to read; --input on the command line replaces it")
    steps: list[Any] = setting(..., "stages in order, each a name or `name: {settings}`", min_length=1)
    keep: Literal["extract", "all", "none"] = setting(
        "extract",
        "which passes' documents stay beside the last: a later change starts from the last that stayed",
    )
    keep_text: bool = setting(False, "write the whole text of dropped documents into rejects, not 200 characters")


@dataclass(frozen=True)
class Step:
    """A stage as it stands in a recipe; `name` tells a second use apart: filter, filter.2."""

    name: str
    stage: Stage
    config: Settings
    only: Only

    def resolved(self) -> dict[str, Any]:
        data = self.config.model_dump(mode="json")
        only = self.only.model_dump(mode="json", exclude_none=True)
        return {**data, "only": only} if only else data


@dataclass(frozen=True)
class Recipe:
    inputs: tuple[InputSettings, ...]
    steps: tuple[Step, ...]
    keep: str
    keep_text: bool
    limit: int | None = None

    def resolved(self) -> dict[str, Any]:
        """The whole recipe with every default, as it is written to run.yaml and compared on resume."""
        return {
            "version": 1,
            "inputs": [entry.model_dump(mode="json") for entry in self.inputs],
            "steps": [{step.stage.name: step.resolved()} for step in self.steps],
            "keep": self.keep,
            "keep_text": self.keep_text,
            "limit": self.limit,
        }


def load_recipe(
    path: str | Path, *, inputs: Sequence[str] = (), assignments: Sequence[str] = (), limit: int | None = None
) -> Recipe:
    """Read, override and check a recipe file; every mistake is a ConfigError with its line."""
    document = load_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: a recipe holds `version:`, `inputs:` and `steps:`; this file does not")
    return resolve(document, inputs=inputs, assignments=assignments, limit=limit)


def resolve(
    document: Document,
    *,
    inputs: Sequence[str] = (),
    assignments: Sequence[str] = (),
    limit: int | None = None,
) -> Recipe:
    data = dict(document.data)
    for assignment in assignments:
        _override(data, *parse_assignment(assignment), assignment)
    if inputs:
        data["inputs"] = _replace_inputs(data.get("inputs"), inputs)
    settings = validate(RecipeSettings, data, document)
    if not settings.inputs:
        raise ConfigError(f"{document.name}: no inputs; name them in the recipe or with --input PATH")
    steps = _steps(settings.steps, document)
    return Recipe(tuple(settings.inputs), tuple(steps), settings.keep, settings.keep_text, limit)


def single_stage(name: str, config: Mapping[str, Any], inputs: Sequence[InputSettings], limit: int | None) -> Recipe:
    """The recipe of `curate <stage> INPUT…`: one step."""
    stage = stages.load(name)
    step = Step(name, stage, validate(stage.config, config, name=name), Only())
    return Recipe(tuple(inputs), (step,), "extract", False, limit)


def _steps(items: Sequence[Any], document: Document) -> list[Step]:
    steps: list[Step] = []
    for index, item in enumerate(items):
        where = document.at(("steps", index))
        name, config = _name_and_config(item, where)
        try:
            stage = stages.load(name)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        config = dict(config)
        location = ("steps", index, name)
        only = validate(Only, config.pop("only", {}), document, (*location, "only"), f"{name}.only")
        checked = validate(stage.config, config, document, location, name)
        count = sum(step.stage.name == name for step in steps)
        steps.append(Step(f"{name}.{count + 1}" if count else name, stage, checked, only))
    return steps


def _name_and_config(item: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(item, str):
        return item.replace("-", "_"), {}
    if isinstance(item, dict) and len(item) == 1:
        ((name, config),) = item.items()
        if config is None:
            config = {}
        if isinstance(config, dict):
            return str(name).replace("-", "_"), config
    raise ConfigError(f"{where}: a step is a stage's name, or `name: {{settings}}`; found {item!r}")


def _override(data: dict[str, Any], path: list[str], value: Any, assignment: str) -> None:
    """Apply one --set: a key of the recipe, or STEP.KEY, or STEP.2.KEY for a stage's second use."""
    if path[0] in RecipeSettings.model_fields and path[0] not in ("steps", "inputs"):
        return assign(data, path, value)
    step, rest, wanted = path[0], path[1:], 1
    if rest and rest[0].isdigit():
        wanted, rest = int(rest[0]), rest[1:]
    steps = data["steps"] = list(data.get("steps") or [])
    names = []
    for index, item in enumerate(steps):
        name, config = _name_and_config(item, "the recipe")
        names.append(name)
        if name == step and names.count(name) == wanted:
            if not rest:
                raise ConfigError(f"--set {assignment}: name a setting of {step}, for example {step}.KEY=VALUE")
            changed = dict(config)
            assign(changed, rest, value)
            steps[index] = {name: changed}
            return None
    raise ConfigError(f'--set {assignment}: the recipe has no step "{path[0]}"{suggest(step, sorted(set(names)))}')


def _replace_inputs(existing: Any, given: Sequence[str]) -> list[dict[str, Any]]:
    """`--input [SOURCE=]PATH`: the recipe's entry of that source, or its only entry, keeps its other settings."""
    entries = [e for e in existing if isinstance(e, dict)] if isinstance(existing, list) else []
    replaced = []
    for text in given:
        source, equals, path = text.partition("=")
        if not equals or not source.replace("_", "").replace("-", "").isalnum():
            source, path = "", text
        same = [e for e in entries if (e.get("source", "main") == source if source else len(entries) == 1)]
        base = dict(same[0]) if same else {}
        replaced.append({**base, "path": path, **({"source": source} if source else {})})
    return replaced
