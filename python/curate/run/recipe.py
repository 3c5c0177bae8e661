"""A recipe: inputs and an ordered list of steps, read, overridden and checked before any byte of data is read.

    version: 1
    inputs:
      - {path: crawl/*.warc.gz, source: web}
    steps:
      - extract
      - langid: {keep: [en]}
      - filter: {preset: gopher@dclm, only: {source: [web]}}

Resolving it gives every step its checked settings with all defaults; that form is written to run.yaml. A recipe is
data: it may name a stage or an extractor of the user's, `package.module:NAME`, and that is used only where the
command line allows the package (`--allow-code package`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from curate import plugins, stages
from curate.config import (
    Document,
    Settings,
    assign,
    load_yaml,
    parse_assignment,
    setting,
    split_source,
    suggest,
    validate,
)
from curate.errors import ConfigError
from curate.io.inputs import InputSettings
from curate.stages.protocol import Stage


class Only(Settings):
    """The rows a step works on; others go through untouched and are counted."""

    source: list[str] | None = setting(None, "only documents of these sources", min_length=1)
    lang: list[str] | None = setting(None, "only documents in these languages (langid must come before)", min_length=1)


class Guard(Settings):
    """Whether a step's yield is watched: `off`, `on`, or the band of the share of rows that it may keep."""

    guard: Literal["on", "off"] | tuple[float, float] = setting(
        "on", "off, or [low, high]: stop where the step keeps another share of 1,000 rows or more"
    )

    @field_validator("guard", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """The setting as text where YAML made it a boolean: YAML 1.1 readers take `off` for false."""
        return ("on" if value else "off") if isinstance(value, bool) else value

    @field_validator("guard")
    @classmethod
    def _is_a_band(cls, value: Any) -> Any:
        """Raises ValueError unless a band is two shares of rows in 0..1, the lower first."""
        if not isinstance(value, str) and not 0 <= value[0] <= value[1] <= 1:
            raise ValueError(f"a band is two shares, the lower first, as [0.05, 1]; found {list(value)}")
        return value


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
    guard: Literal["on", "off"] = setting("on", "off: no step's yield is watched")

    @field_validator("guard", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """As for a step's guard: `on` and `off` may arrive as booleans."""
        return ("on" if value else "off") if isinstance(value, bool) else value


@dataclass(frozen=True)
class Step:
    """A stage as it stands in a recipe; `name` tells a second use apart: filter, filter.2."""

    name: str  # unique in the recipe
    stage: Stage
    config: Settings  # the stage's settings, checked, with all defaults
    only: Only = field(default_factory=Only)  # rows that it works on
    guard: Guard = field(default_factory=Guard)  # whether its yield is watched
    target: str = ""  # how a stage of the user's is named, `package.module:NAME`; empty for ours

    @property
    def stage_name(self) -> str:
        """How a recipe names the stage."""
        return self.target or self.stage.name

    def resolved(self) -> dict[str, Any]:
        """Its settings with all defaults, and `only` and `guard` where they are set."""
        data = self.config.model_dump(mode="json")
        only = self.only.model_dump(mode="json", exclude_none=True)
        guard = self.guard.model_dump(mode="json", exclude_defaults=True)
        return {**data, **({"only": only} if only else {}), **guard}

    def band(self, recipe: "Recipe") -> tuple[float, float] | None:
        """The share of rows that the step may keep; None where it is not watched."""
        if recipe.guard == "off" or self.guard.guard == "off":
            return None
        return self.stage.expected(self.config) if isinstance(self.guard.guard, str) else self.guard.guard


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. Two recipes are the same to a run where their `resolved()` is."""

    inputs: tuple[InputSettings, ...]
    steps: tuple[Step, ...]
    keep: str = "extract"  # as RecipeSettings has it, like the next two
    keep_text: bool = False
    guard: str = "on"
    limit: int | None = None  # of documents that are read, from --limit; None: all
    allow_code: tuple[str, ...] = ()  # packages of the user's that may be imported; never part of the recipe

    def resolved(self) -> dict[str, Any]:
        """The whole recipe with every default, as it is written to run.yaml and compared on resume."""
        return {
            "version": 1,
            "inputs": [entry.model_dump(mode="json") for entry in self.inputs],
            "steps": [{step.stage_name: step.resolved()} for step in self.steps],
            "keep": self.keep,
            "keep_text": self.keep_text,
            "guard": self.guard,
            "limit": self.limit,
        }


def load_recipe(
    path: str | Path,
    *,
    inputs: Sequence[str] = (),
    assignments: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    trust_ids: bool = False,
    limit: int | None = None,
    allow_code: Sequence[str] = (),
) -> Recipe:
    """Read, override and check a recipe file.

    `inputs` are the values of --input, `assignments` those of --set; `columns` (--columns) and `trust_ids` hold for
    every input. Every mistake is a ConfigError that names the line of the file or the option.
    """
    document = load_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: a recipe holds `version:`, `inputs:` and `steps:`; this file does not")
    return resolve(
        document, inputs=inputs, assignments=assignments, columns=columns, trust_ids=trust_ids, limit=limit,
        allow_code=allow_code,
    )  # fmt: skip


def resolve(
    document: Document,
    *,
    inputs: Sequence[str] = (),
    assignments: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    trust_ids: bool = False,
    limit: int | None = None,
    allow_code: Sequence[str] = (),
) -> Recipe:
    """The recipe of a document that was read.

    What options say is applied before anything is checked, so that a value that is replaced need not be right.
    """
    data = dict(document.data)
    for assignment in assignments:
        _override(data, document, *parse_assignment(assignment), f"--set {assignment}", allow_code)
    if inputs:
        data["inputs"] = _replace_inputs(data.get("inputs"), inputs)
    if isinstance(data.get("inputs"), list):
        data["inputs"] = [_read_as(entry, columns or {}, trust_ids) for entry in data["inputs"]]
    settings = validate(RecipeSettings, data, document)
    if not settings.inputs:
        raise ConfigError(f"{document.name}: no inputs; name them in the recipe or with --input PATH")
    steps = _steps(settings.steps, document, allow_code)
    return Recipe(
        tuple(settings.inputs), tuple(steps), settings.keep, settings.keep_text, settings.guard, limit,
        tuple(allow_code),
    )  # fmt: skip


def single_stage(
    name: str,
    config: Mapping[str, Any],
    inputs: Sequence[InputSettings],
    limit: int | None = None,
    *,
    only: Only | None = None,
    keep: str = "extract",
    guard: str = "on",
    allow_code: Sequence[str] = (),
) -> Recipe:
    """The recipe of `curate <stage> INPUT…`: one step, whose settings come from the command's options."""
    stage = stages.load(name, allow_code)
    step = Step(name, stage, validate(stage.config, config, name=name), only or Only())
    _check_code(step, allow_code)
    return Recipe(tuple(inputs), (step,), keep, guard=guard, limit=limit, allow_code=tuple(allow_code))


def _steps(items: Sequence[Any], document: Document, allow_code: Sequence[str]) -> list[Step]:
    """The recipe's steps, checked in order; a second use of a stage is named `filter.2`.

    `only` and `guard` may stand beside the settings of any stage. They are taken out before the stage checks the rest.
    """
    steps: list[Step] = []
    for index, item in enumerate(items):
        where = document.at(("steps", index))
        target, config = _name_and_config(item, where)
        location = ("steps", index, target)
        try:
            stage = stages.load(target, allow_code)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        config = dict(config)
        name = stage.name
        only = validate(Only, config.pop("only", {}), document, (*location, "only"), f"{name}.only")
        watched = {"guard": config.pop("guard")} if "guard" in config else {}
        guard = validate(Guard, watched, document, location, name)
        checked = validate(stage.config, config, document, location, name)
        if stage.makes and any(only.model_dump().values()):
            raise ConfigError(f"{where}: {name} takes no `only`: the rows that it leaves would not be {stage.makes}s")
        count = sum(step.stage.name == name for step in steps)
        step = Step(
            f"{name}.{count + 1}" if count else name, stage, checked, only, guard, target if ":" in target else ""
        )
        try:
            _check_code(step, allow_code)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        steps.append(step)
    return steps


def _check_code(step: Step, allow_code: Sequence[str]) -> None:
    """ConfigError where the settings name code that the command line does not allow. Nothing is imported."""
    for target in step.stage.code(step.config):
        plugins.check(target, allow_code)


def _name_and_config(item: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    """A step as YAML has it, `filter` or `filter: {preset: gopher}`, as (stage, settings)."""
    if isinstance(item, str):
        return _stage_name(item), {}
    if isinstance(item, dict) and len(item) == 1:
        ((name, config),) = item.items()
        if config is None:
            config = {}
        if isinstance(config, dict):
            return _stage_name(str(name)), config
    raise ConfigError(f"{where}: a step is a stage's name, or `name: {{settings}}`; found {item!r}")


def _stage_name(text: str) -> str:
    """The stage as we name it: a command's form is taken too, `near-dedup`. A user's target stays as it is."""
    return text if ":" in text else text.replace("-", "_")


def _override(
    data: dict[str, Any], document: Document, path: list[str], value: Any, flag: str, allow_code: Sequence[str]
) -> None:
    """Apply one --set: a key of the recipe, or STEP.KEY, or STEP.2.KEY for a stage's second use.

    `document` is told which places changed, so that an error there names the option and not a line of the file.
    """
    if path[0] in RecipeSettings.model_fields and path[0] not in ("steps", "inputs"):
        document.changed(assign(data, path, value, RecipeSettings, flag), flag)
        return
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
                raise ConfigError(f"{flag}: name a setting of {step}, for example {step}.KEY=VALUE")
            changed = dict(config)
            keys = assign(changed, rest, value, stages.load(name, allow_code).config, flag)
            document.changed(("steps", index, name, *keys), flag)
            steps[index] = {name: changed}
            return
    raise ConfigError(f'{flag}: the recipe has no step "{path[0]}"{suggest(step, sorted(set(names)))}')


def _read_as(entry: Any, columns: Mapping[str, str], trust_ids: bool) -> Any:
    """An entry of `inputs` with the names of --columns beside its own, and --trust-ids."""
    if not isinstance(entry, dict):
        return entry
    own = entry.get("columns") or {}
    named = {"columns": {**own, **columns}} if columns and isinstance(own, dict) else {}
    return {**entry, **named, **({"trust_ids": True} if trust_ids else {})}


def _replace_inputs(existing: Any, given: Sequence[str]) -> list[dict[str, Any]]:
    """`--input [SOURCE=]PATH`: the recipe's entry of that source, or its only entry, keeps its other settings. Entries
    that are only compared with stay."""
    found = [e for e in existing if isinstance(e, dict)] if isinstance(existing, list) else []
    entries = [e for e in found if not e.get("against")]
    replaced = [e for e in found if e.get("against")]
    for text in given:
        source, path = split_source(text)
        same = [e for e in entries if (e.get("source", "main") == source if source else len(entries) == 1)]
        base = dict(same[0]) if same else {}
        replaced.append({**base, "path": path, **({"source": source} if source else {})})
    return replaced
