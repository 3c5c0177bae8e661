"""From a recipe to passes: neighboring `each` phases are fused, so that a task reads its input once.

For extract, normalize, langid, exact_dedup:

    00-extract                                   each   a task an input slice
    01-normalize+langid+exact_dedup.hash         each   documents, and hash rows grouped by partition
    02-exact_dedup.pick                          part   a task a partition
    03-exact_dedup.apply                         each   the documents that stay

Task names and lists depend on the recipe and the inputs alone, never on workers or machine.
"""

from dataclasses import dataclass, field

from curate.errors import ConfigError
from curate.io.inputs import TaskInput, reads_raw
from curate.run.recipe import Recipe, Step
from curate.stages.protocol import Channel, Phase, Shape

PARTITION_BYTES = 64 << 20
MIN_PARTITIONS, MAX_PARTITIONS = 4, 4096


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
    op: str
    channel: Channel


@dataclass
class Pass:
    """The unit of commit. `documents_from` is the pass whose documents an each pass reads; None for the inputs."""

    index: int
    shape: Shape
    ops: list[Op]
    documents_from: int | None = None
    last_documents: bool = False
    kept: bool = False
    reads: dict[str, Source] = field(default_factory=dict)  # "op/channel name as the phase calls it"
    sides: dict[str, Source] = field(default_factory=dict)

    @property
    def name(self) -> str:
        names = [op.name for op in self.ops]
        if sum(map(len, names)) > 120:  # it becomes part of file names
            names = [names[0], f"{len(names) - 2}-more", names[-1]]
        return f"{self.index:02d}-" + "+".join(names)

    @property
    def upstream(self) -> list[int]:
        """The passes whose task outputs this one reads as input, side files not included."""
        found = {source.pass_index for source in self.reads.values()}
        return sorted(found | ({self.documents_from} if self.documents_from is not None else set()))


@dataclass(frozen=True)
class Plan:
    recipe: Recipe
    inputs: tuple[TaskInput, ...]
    passes: tuple[Pass, ...]
    partitions: int

    def task_ids(self, index: int) -> list[str]:
        """The tasks of a pass, in order."""
        shape = self.passes[index].shape
        if shape == "each":
            return [task.id for task in self.inputs]
        return [f"p{p:04d}" for p in range(self.partitions)] if shape == "part" else ["all"]


def partitions(input_bytes: float) -> int:
    """The next power of two of input bytes / 64 MiB, so that a new file rarely changes it; at least 4."""
    count = MIN_PARTITIONS
    while count < min(-(-input_bytes // PARTITION_BYTES), MAX_PARTITIONS):
        count *= 2
    return count


def make_plan(recipe: Recipe, inputs: tuple[TaskInput, ...]) -> Plan:
    """The passes of a recipe over these inputs; ConfigError where a step lacks what it needs."""
    _check_order(recipe, inputs)
    passes: list[Pass] = []
    documents: int | None = None
    open_pass: Pass | None = None
    for step in recipe.steps:
        for phase in step.stage.phases:
            op = Op(step, phase)
            if phase.shape == "each":
                alone = step.stage.own_pass
                if open_pass is None or alone or open_pass.kept:
                    open_pass = Pass(len(passes), "each", [], documents_from=documents, kept=alone)
                    passes.append(open_pass)
                open_pass.ops.append(op)
                documents = open_pass.index
                _connect(open_pass, op, passes, recipe)
            else:
                single = Pass(len(passes), phase.shape, [op])
                passes.append(single)
                _connect(single, op, passes, recipe)
                open_pass = None
    if documents is not None:
        passes[documents].last_documents = True
    keep = recipe.keep
    for p in passes:
        p.kept = p.last_documents or keep == "all" or (keep == "extract" and p.kept)
    return Plan(recipe, inputs, tuple(passes), partitions(sum(task.size for task in inputs)))


def _connect(target: Pass, op: Op, passes: list[Pass], recipe: Recipe) -> None:
    """Resolve what a phase reads to the passes that emit it."""
    files = op.step.stage.files(op.step.config)
    for name in op.phase.reads:
        target.reads[f"{op.name}/{name}"] = _find(name, op, passes)
    for name in op.phase.side:
        if name.rpartition(".")[2] in files:
            continue
        target.sides[f"{op.name}/{name}"] = _find(name, op, passes)


def _find(name: str, op: Op, passes: list[Pass]) -> Source:
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


def _check_order(recipe: Recipe, inputs: tuple[TaskInput, ...]) -> None:
    names = [step.stage.name for step in recipe.steps]
    raw = any(reads_raw(task.slices) for task in inputs)
    if raw and "extract" not in names:
        raise ConfigError("the inputs are WARC files, whose pages must be extracted: make `extract` the first step")
    if "extract" in names and names.index("extract") > 0:
        raise ConfigError("extract must be the first step: the steps before it would see no text")
    for index, step in enumerate(recipe.steps):
        if step.only.lang and "langid" in names and index <= names.index("langid"):
            raise ConfigError(f"{step.name}.only.lang: languages are known after `langid`; put that step before")
