"""What an ablation is asked for: arms, held-out texts, tokens and seeds; checked, and noted in OUT/ablation.yaml.

OUT/arms/NAME/data     what `curate run` made of the recipe     OUT/runs/NAME-SEED   a model
OUT/arms/NAME/tokens   its documents as tokens                  OUT/measured         what each model gave
OUT/heldout/SET        a held-out text as tokens                OUT/ablation.json    differences with intervals
OUT/tokenizer          of all arms                              OUT/ablation.html    the same, with curves
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.config import Settings, dump_yaml, load_yaml, setting
from curate.errors import ConfigError, ResumeError
from train import checkpoint
from train.config import TrainSettings

FILE = "ablation.yaml"


class Ablation(Settings):
    """What is the same for all arms, beside the settings of training."""

    seeds: int = setting(2, "models of each arm, of the seeds 1, 2, …", ge=1, le=100)
    vocab_size: int = setting(8192, "of the tokenizer, where none is given", unit="tokens", ge=300)
    points: int = setting(4, "checkpoints of each model that are measured", ge=1, le=100)
    task_items: int = setting(500, "of each task at most so many, drawn; 0 for all", ge=0)
    heldout_tokens: int = setting(200_000, "of each held-out text at most about so many", unit="tokens", ge=1)


class Arm(NamedTuple):
    """A recipe under a name."""

    name: str
    recipe: Path


class Plan(NamedTuple):
    """An ablation; the first arm is what the others are compared with."""

    out: Path
    arms: list[Arm]
    heldout: dict[str, str]  # by name the path of a text
    inputs: list[str]  # [SOURCE=]PATH in place of the recipes' inputs
    tokenizer: Path | None
    tasks: list[Path]
    settings: Ablation
    training: TrainSettings
    workers: int | None

    def data(self, arm: str) -> Path:
        return self.out / "arms" / arm / "data"

    def tokens(self, arm: str) -> Path:
        return self.out / "arms" / arm / "tokens"

    def run(self, arm: str, seed: int) -> Path:
        return self.out / "runs" / f"{arm}-{seed}"

    @property
    def seeds(self) -> range:
        return range(1, self.settings.seeds + 1)


def named(given: Sequence[str], what: str) -> dict[str, str]:
    """[NAME=]PATH as path by name; without a name that of the file. Raises ConfigError where a name comes twice."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = Path(text).name.partition(".")[0], text
        if not name or not path or "/" in name or name.startswith("."):
            raise ConfigError(f"{what} {text}: expected NAME=PATH, and no slash in the name")
        if name in found:
            raise ConfigError(f"{what} {text}: {name} is already {found[name]}; give it a name of its own: NAME={path}")
        found[name] = path
    return found


def check(plan: Plan) -> None:
    """Raise ConfigError where the plan cannot be, ResumeError where OUT holds another one; note it where it is new."""
    if len(plan.arms) < 2:
        raise ConfigError("an ablation compares two recipes or more; name another")
    if not plan.heldout:
        raise ConfigError("no held-out text: give --heldout NAME=PATH, of text that no arm was made from")
    if not plan.training.tokens:
        raise ConfigError("no budget: give --tokens, the same for every arm")
    for arm in plan.arms:
        document = load_yaml(arm.recipe)
        steps = document.data.get("steps", []) if isinstance(document.data, dict) else []
        names = [next(iter(step)) if isinstance(step, dict) else step for step in steps if step]
        made = [name for name in names if name in ("train_tokenizer", "tokenize", "mix")]
        if made:
            raise ConfigError(
                f"{arm.recipe}: {made[0]}: all arms of an ablation share one tokenizer; leave these steps out"
            )
    now, path = facts(plan), plan.out / FILE
    if path.exists():
        before = load_yaml(path).data
        # More arms and more seeds go on with the models that there are.
        shared = before["arms"].keys() & now["arms"].keys()
        pairs = {f"arms.{name}": (before["arms"][name], now["arms"][name]) for name in sorted(shared)}
        pairs |= {key: (before.get(key), now[key]) for key in now if key not in ("arms", "seeds")}
        differs = {key: (old, new) for key, (old, new) in pairs.items() if old != new}
        if differs:
            told = "\n".join(f"  {key}: {old} before, {new} now" for key, (old, new) in differs.items())
            raise ResumeError(f"{plan.out} holds another ablation:\n{told}\nGive the same, or another --out folder.")
    checkpoint.write_file(path, dump_yaml(now).encode())


def facts(plan: Plan) -> dict[str, Any]:
    """What the result follows from; recipes by their content."""
    return {
        "arms": {arm.name: f"{arm.recipe.name} {_digest(arm.recipe)}" for arm in plan.arms},
        "heldout": plan.heldout,
        "inputs": plan.inputs,
        "tasks": [f"{path.name} {_digest(path)}" for path in plan.tasks],
        "tokenizer": _digest(plan.tokenizer) if plan.tokenizer else None,
        **plan.settings.model_dump(),
        "training": plan.training.model_dump(),
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
