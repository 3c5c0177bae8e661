"""From a recipe to passes: neighboring `each` phases are fused, so that a task reads its input once.

For extract, normalize, langid, exact_dedup:

    00-extract                                   each   a task an input slice
    01-normalize+langid+exact_dedup.hash         each   documents, and hash rows grouped by partition
    02-exact_dedup.pick                          part   a task a partition
    03-exact_dedup.merge                         all    one task
    04-exact_dedup.apply                         each   the documents that stay

A step is a stage as a recipe uses it; an op is one phase of a step; a pass is the ops that run over the same rows at
once, and the unit of commit; a task is a pass over one slice, one partition, or everything.

Names and lists of tasks depend on the recipe and the inputs alone, never on workers or machine.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property

from curate import stages
from curate.config import suggest
from curate.errors import ConfigError
from curate.io.inputs import TaskInput, reads_raw
from curate.run.recipe import Recipe, Step
from curate.stages import CHECK_IDS
from curate.stages.protocol import Channel, Phase, Resources, Shape

PARTITION_BYTES = 64 << 20  # of input, as it is stored, for a partition
MIN_PARTITIONS, MAX_PARTITIONS = 4, 4096  # of a run; beyond 256 GiB of input, partitions grow


@dataclass(frozen=True)
class Op:
    """A phase of a step, as it runs inside a pass."""

    step: Step
    phase: Phase

    @property
    def name(self) -> str:
        """`filter` for a stage's only phase, else `exact_dedup.hash`."""
        return self.step.name if len(self.step.stage.phases) == 1 else f"{self.step.name}.{self.phase.name}"


@dataclass(frozen=True)
class Source:
    """Where a channel comes from: a pass, and the op in it that emits."""

    pass_index: int
    op: str  # `Op.name`
    channel: Channel


Names = dict[tuple[str, str], Source]
"""(op, channel as its phase calls it) -> where it comes from."""


@dataclass
class Pass:
    """The unit of commit. `documents_from` is the pass whose documents an each pass reads; None for the inputs.

    An each pass may have many ops, a part or all pass has one.
    """

    index: int  # its place in the plan, and the number that its name begins with
    shape: Shape
    ops: list[Op]
    documents_from: int | None = None
    records_reading: bool = False  # the first to read the inputs: it records what the reader counts and rejects
    writes: bool = False  # its documents are written, as the ops changed them
    last_documents: bool = False  # they are the run's documents/
    kept: bool = False  # they stay when the run has ended
    reads: Names = field(default_factory=dict)  # channels read by partition
    sides: Names = field(default_factory=dict)  # channels read whole
    own: Names = field(default_factory=dict)  # channels of which each task reads what the same task wrote

    @cached_property
    def name(self) -> str:
        """`01-normalize+langid+exact_dedup.hash`, which file names are made of.

        A name of many ops is shortened: `01-normalize+7-more+exact_dedup.hash`.
        """
        names = [op.name.replace(":", ".") for op in self.ops]
        if sum(map(len, names)) > 120:  # it becomes part of file names
            names = [names[0], f"{len(names) - 2}-more", names[-1]]
        return f"{self.index:02d}-" + "+".join(names)

    @property
    def from_inputs(self) -> bool:
        """Whether its tasks read the inputs of the run, not documents of an earlier pass."""
        return self.shape == "each" and self.documents_from is None

    @property
    def upstream(self) -> list[int]:
        """The passes whose files this one reads."""
        found = {source.pass_index for names in (self.reads, self.sides, self.own) for source in names.values()}
        return sorted(found | ({self.documents_from} if self.documents_from is not None else set()))

    @property
    def resources(self) -> Resources:
        """What a worker needs in this pass: the states of all ops, and the largest batch."""
        needs = [op.step.stage.resources(op.step.config) for op in self.ops]
        return replace(_most(needs), state_bytes=sum(need.state_bytes for need in needs))


def _most(needs: Iterable[Resources]) -> Resources:
    """The largest amount of each resource."""
    return Resources(*map(max, zip(*map(astuple, needs), strict=True)))


@dataclass(frozen=True)
class Plan:
    """Everything that will be done, in order. It depends on the recipe and the inputs only."""

    recipe: Recipe
    inputs: tuple[TaskInput, ...]
    passes: tuple[Pass, ...]
    partitions: int  # of every partitioned channel; also the number of tasks of a part pass
    warnings: tuple[str, ...] = ()

    def task_ids(self, index: int) -> list[str]:
        """The tasks of a pass, in order: ids of inputs, `p0000` and on, or `all`."""
        shape = self.passes[index].shape
        if shape == "each":
            return [task.id for task in self.inputs]
        return [f"p{p:04d}" for p in range(self.partitions)] if shape == "part" else ["all"]

    @property
    def n_tasks(self) -> int:
        """Tasks of all passes."""
        return sum(len(self.task_ids(p.index)) for p in self.passes)

    @property
    def resources(self) -> Resources:
        """The most that any pass needs."""
        return _most(p.resources for p in self.passes)


def partitions(input_bytes: float) -> int:
    """The number of partitions for so many bytes of input: one for every 64 MiB, rounded up to a power of two, 4 to
    4,096.

    Since it is a power of two, a new file rarely changes it; a change makes every shuffle run again. For 10 GB it is
    256.
    """
    count = MIN_PARTITIONS
    while count < min(-(-input_bytes // PARTITION_BYTES), MAX_PARTITIONS):
        count *= 2
    return count


def make_plan(recipe: Recipe, inputs: tuple[TaskInput, ...], *, ids_may_repeat: bool = False) -> Plan:
    """The passes of a recipe over these inputs; ConfigError where a step lacks what it needs.

    Phases are taken in order. An each phase joins the open pass, except where it reads what an op of that pass emits
    (it waits until all tasks have ended) or where its stage or the one before has a pass of its own. A part or all
    phase closes the open pass. Where doc_ids of the inputs may repeat, the run looks for repeats first.
    """
    _check_kinds(recipe, inputs)
    _check_against(recipe, inputs)
    warnings = _check_sources(recipe, inputs)
    _check_private(recipe)
    passes: list[Pass] = []
    open_pass: Pass | None = None
    checks = [Step(CHECK_IDS, stage := stages.load(CHECK_IDS), stage.config())] if ids_may_repeat else []
    for step in (*checks, *recipe.steps):
        for phase in step.stage.phases:
            op = Op(step, phase)
            found = _found(op, passes)
            alone = (step.stage.own_pass and not _before_extraction(open_pass)) or (
                open_pass is not None and open_pass.ops[-1].step.stage.own_pass
            )
            waits = open_pass is not None and any(open_pass.index == s.pass_index for n in found for s in n.values())
            if phase.shape != "each":
                open_pass = None
                target = Pass(len(passes), phase.shape, [])
                passes.append(target)
            elif open_pass is None or alone or waits:
                written = [p.index for p in passes if p.writes]
                open_pass = Pass(len(passes), "each", [], documents_from=max(written, default=None))
                passes.append(open_pass)
                target = open_pass
            else:
                target = open_pass
            target.ops.append(op)
            target.writes |= phase.shape == "each" and phase.documents
            for names, more in zip((target.reads, target.sides, target.own), found, strict=True):
                names.update(more)
    _settle_documents(passes, recipe)
    return Plan(recipe, inputs, tuple(passes), partitions(sum(task.size for task in inputs)), warnings)


def _before_extraction(p: Pass | None) -> bool:
    """Whether a pass works on pages alone."""
    return p is not None and all(
        op.step.stage.rows(op.step.config) != "document" and not op.step.stage.own_pass for op in p.ops
    )


def _settle_documents(passes: list[Pass], recipe: Recipe) -> None:
    """Which passes write documents, and which of these stay.

    The last that writes gives the run's documents/. `keep` decides on the others: with "extract" those of stages that
    have a pass of their own stay, with "all" every one, with "none" no other.
    """
    each = [p for p in passes if p.shape == "each"]
    if not each:
        return
    # Later passes may read the inputs again; what the reader rejects is recorded once.
    next(p for p in each if p.documents_from is None).records_reading = True
    if not any(p.writes for p in each):
        each[-1].writes = True  # steps that only look: documents/ holds what came in
    last = [p for p in each if p.writes][-1]
    last.last_documents = True
    for p in each:
        own = any(op.step.stage.own_pass for op in p.ops)
        p.kept = p.writes and (p.last_documents or recipe.keep == "all" or (recipe.keep == "extract" and own))


def _found(op: Op, passes: list[Pass]) -> tuple[Names, Names, Names]:
    """What a phase reads by partition, whole, and of its own task, resolved to the ops that emit it."""
    files = op.step.stage.files(op.step.config)
    reads = {(op.name, name): _find(name, op, passes) for name in op.phase.reads}
    sides = {(op.name, name): _find(name, op, passes) for name in op.phase.side if name.rpartition(".")[2] not in files}
    for name in op.phase.side:
        key, stage = name.rpartition(".")[2], name.split(".")[0]
        if key in files and name.count(".") == 2 and any(o.step.stage.name == stage for p in passes for o in p.ops):
            raise ConfigError(
                f"{op.step.name}.{key} names a file, and the step {stage} makes one too: leave one of the two out"
            )
    own = {(op.name, name): _find(name, op, passes) for name in op.phase.own}
    for name in (source.channel.name for source in own.values() if source.channel.by):
        raise ConfigError(f"{op.name}: the channel {name} is partitioned, so that a task cannot read its own rows")
    return reads, sides, own


def _find(name: str, op: Op, passes: list[Pass]) -> Source:
    """Where a channel comes from: the nearest earlier op that emits it.

    `phase.channel` is of the same step, `stage.phase.channel` of the last step of that stage. ConfigError where no step
    before emits it.
    """
    parts = name.split(".")
    stage = op.step.stage.name if len(parts) == 2 else parts[0]
    phase, channel = parts[-2:]
    for p in reversed(passes):
        for other in reversed(p.ops):
            same_step = other.step is op.step or (len(parts) == 3 and other.step.stage.name == stage)
            if same_step and other.phase.name == phase and other is not op:
                for candidate in other.phase.emits:
                    if candidate.name == channel:
                        return Source(p.index, other.name, candidate)
    raise ConfigError(
        f"{op.step.name} needs what {stage} makes: put a `{stage}` step before it"
        + (f", or set `{op.step.name}.{channel}` to a file" if channel in type(op.step.config).model_fields else "")
    )


# -- what a recipe cannot ask for ----------------------------------------------------------------------------


def _check_kinds(recipe: Recipe, inputs: tuple[TaskInput, ...]) -> None:
    """Every step meets rows that it reads: pages (raw), documents, or any."""
    kinds = {"raw" if reads_raw(task.slices) else "document" for task in inputs if not task.against} or {"document"}
    made = False  # whether a step made them what they are
    for step in recipe.steps:
        wanted = step.stage.rows(step.config)
        if wanted == "document" and "raw" in kinds:
            raise ConfigError(
                f"{step.name} reads documents, and the inputs hold pages (WARC or HTML), whose text must be extracted:"
                " put `extract` before it"
            )
        if wanted == "raw" and "raw" not in kinds:
            what = "the steps before it" if made else "the inputs"
            raise ConfigError(f"{step.name} reads pages (WARC or HTML), and {what} give documents: leave this step out")
        if step.stage.makes and wanted != "document":
            kinds, made = {step.stage.makes}, True


def _check_against(recipe: Recipe, inputs: tuple[TaskInput, ...]) -> None:
    """ConfigError where inputs that are only compared with meet no step that compares, hold pages, or are all there
    is."""
    compared = [task for task in inputs if task.against]
    if not compared:
        return
    name = compared[0].slices[0].path
    if not any(phase.against for step in recipe.steps for phase in step.stage.phases):
        raise ConfigError(f"input {name}: `against` is for steps that look for copies, and this recipe has none")
    if len(compared) == len(inputs):
        raise ConfigError(
            f"input {name}: every input is only compared with (`against`); name one that is to be cleaned"
        )
    pages = [piece.path for task in compared for piece in task.slices if piece.kind == "raw"]
    if pages and not all(step.stage.rows(step.config) == "any" for step in recipe.steps if any(
            phase.against for phase in step.stage.phases)):  # fmt: skip
        raise ConfigError(
            f"input {pages[0]}: it holds pages, and documents are compared with documents: extract it first"
        )


def _check_sources(recipe: Recipe, inputs: tuple[TaskInput, ...]) -> tuple[str, ...]:
    """Raise ConfigError where a step would do nothing: `only.lang` stands before langid, or `only.source` names no
    source that there is. Gives a warning for a source that no input has beside others that there are: one recipe may
    serve several inputs.
    """
    names = [step.stage.name for step in recipe.steps]
    known = {piece.source for task in inputs for piece in task.slices}
    # Rows of tables may name sources of their own.
    pages = ("warc", "wet", "html", "text", "wiki")
    open_ended = not inputs or any(piece.format not in pages for task in inputs for piece in task.slices)
    warnings = []
    for index, step in enumerate(recipe.steps):
        if step.only.lang and "langid" in names and index <= names.index("langid"):
            raise ConfigError(f"{step.name}.only.lang: languages are known after `langid`; put that step before")
        wanted = step.only.source or []
        unknown = [] if open_ended else [source for source in wanted if source not in known]
        if unknown and len(unknown) == len(wanted):
            raise ConfigError(f'{step.name}.only.source: no input has the source "{unknown[0]}"'
                              f"{suggest(unknown[0], sorted(known))}")  # fmt: skip
        warnings += [f'{step.name}.only.source: no input has the source "{source}"' for source in unknown]
    return tuple(warnings)


def _check_private(recipe: Recipe) -> None:
    """Nothing that redact would have replaced is written beside the documents that it has not reached yet."""
    private = [index for index, step in enumerate(recipe.steps) if step.stage.private]
    if not private:
        return
    name = recipe.steps[private[0]].name
    if recipe.keep_text:
        raise ConfigError(
            f"keep_text writes whole texts into rejects/, where {name} does not reach: leave one of the two out"
        )
    for step in recipe.steps[: private[0]]:
        words = any(
            c.words and c.path and (c.only_with is None or getattr(step.config, c.only_with))
            for phase in step.stage.phases
            for c in phase.emits
        )
        if words or step.stage.name == "holdout":
            raise ConfigError(
                f"{step.name} stands before {name}, so that what it puts into the run's folder is not redacted: put"
                f" {name} first"
            )
