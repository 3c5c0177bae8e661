"""Micro-annealing: is a small new source worth having? One checkpoint is annealed with and without it.

    without   the base mixture                           both: the learning rate of the checkpoint goes to zero in a
    with      (1 - share) base + share of the source     line, no warm-up, the same seeds, the same tokens

The judgement is the difference of held-out bits per byte, with less without, over seeds: its mean and its interval by
Student's t, for every held-out source and for all. OUT/anneal.json has it with every run's figures; OUT/mixture.yaml
ends the checkpoint's own run with the arm that was better.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate import console
from curate.config import dump_yaml
from curate.errors import ConfigError
from curate.mixture import Mixture, MixturePhase
from train import checkpoint
from train.config import TrainSettings
from train.evaluation.bits_per_byte import held_out
from train.evaluation.statistics import LEVEL, paired
from train.machine import pick_device
from train.mixing.caps import fit_caps, tokens_of
from train.mixture import load_mixture, natural_mixture
from train.schedule import learning_rate
from train.shards import Manifest, open_shards
from train.train import train

ARMS = ("without", "with")
PARTS = 0.1  # tokens of an annealing, as a part of those that the checkpoint has read


def arms_of(
    manifest: Manifest, mixture: Path | None, source: str, share: float, tokens: int, max_epochs: float
) -> dict[str, MixturePhase]:
    """The mixtures of both arms. Raises ConfigError for a source that has no tokens, and where they do not suffice."""
    available = tokens_of(manifest)
    if source not in available:
        raise ConfigError(f"--source {source}: no tokens of such a source; there are {', '.join(available)}")
    if not 0 < share < 1:
        raise ConfigError(f"--share: must be between 0 and 1, found {share:g}")
    given = (load_mixture(mixture, manifest) if mixture else natural_mixture(manifest)).phases[-1].weights
    base = {name: weight for name, weight in given.items() if name != source and weight > 0}
    if not base:
        raise ConfigError(f"the mixture has no source but {source}; there is nothing to compare it with")
    base = {name: weight / sum(base.values()) for name, weight in base.items()}
    mixed = {**{name: weight * (1 - share) for name, weight in base.items()}, source: share}
    phases = {}
    for arm, weights in zip(ARMS, (base, mixed), strict=True):
        epochs = dict.fromkeys(weights, max_epochs)
        shares = fit_caps(weights, available, epochs, tokens)
        if arm == "with" and shares[source] < share * (1 - 1e-6):
            have = int(shares[source] * tokens)
            raise ConfigError(
                f"--share {share:g} of {tokens:,} tokens is {int(share * tokens):,} of {source}, and {max_epochs:g} "
                f"epochs give {have:,}: lower --share or --tokens, or raise --max-epochs"
            )
        phases[arm] = MixturePhase(name="anneal", tokens=tokens, weights=shares, max_epochs=epochs)
    return phases


def settings_for(origin: Path, tokens: int, given: TrainSettings) -> TrainSettings:
    """Settings of an annealing from a checkpoint: its batch and optimizer, and its rate going to zero in a line."""
    before, index = checkpoint.settings_of(origin), checkpoint.read_index(origin)
    steps = max(1, round(before.tokens / (before.batch_rows * before.sequence_length)))
    rate = given.optim.learning_rate
    if not rate and before.optim.learning_rate and before.tokens:
        rate = learning_rate(min(index["step"], steps - 1), steps, before.optim)
    if not rate:
        raise ConfigError(f"{origin}: does not say a learning rate; give --set optim.learning_rate=X")
    optim = {"schedule": "linear", "warmup_steps": 0, "final_fraction": 0.0, "learning_rate": rate}
    update = {"optim": before.optim.model_copy(update=optim), "tokens": tokens, "minutes": 0.0, "max_epochs": 1e9}
    execution = {"device": given.device, "threads": given.threads}
    return before.model_copy(update={**update, **execution})


def anneal(
    data: Path,
    out: Path,
    init: Path,
    source: str,
    share: float,
    tokens: int | None,
    seeds: int,
    mixture: Path | None,
    max_epochs: float,
    given: TrainSettings,
) -> dict[str, Any]:
    """Train what is missing of both arms and judge; returns the content of OUT/anneal.json. Raises ConfigError."""
    if seeds < 2:
        raise ConfigError(f"--seeds: an interval needs two or more, found {seeds}")
    manifest, origin = open_shards(data / "tokens").manifest, checkpoint.find(init)
    before, step = checkpoint.settings_of(origin), checkpoint.read_index(origin)["step"]
    read = step * before.batch_rows * before.sequence_length
    total = tokens or round(PARTS * read)
    if not total:
        raise ConfigError("--tokens: the checkpoint says nothing of what it has read; give the tokens to anneal with")
    phases = arms_of(manifest, mixture, source, share, total, max_epochs)
    settings = settings_for(origin, total, given)
    for arm, phase in phases.items():
        made = Mixture(version=1, tokenizer_sha256=manifest.tokenizer_sha256, phases=[phase])
        checkpoint.write_file(out / f"{arm}.yaml", dump_yaml(made.model_dump()).encode())
    runs: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in ARMS}
    for seed in range(1, seeds + 1):
        for arm in ARMS:
            runs[arm][seed] = _one(data, out, arm, seed, settings, origin)
    result = judged(runs, source, share, total)
    checkpoint.write_file(out / "anneal.json", json.dumps(result, indent=1).encode())
    better = "with" if result["differences"]["all"]["value"] < 0 else "without"
    known = (load_mixture(mixture, manifest) if mixture else natural_mixture(manifest)).phases[-1]
    first = [known.model_copy(update={"name": "main", "tokens": read})] if read else []
    final = Mixture(
        version=1,
        tokenizer_sha256=manifest.tokenizer_sha256,
        phases=[*first, phases[better]],
        evidence={"method": "micro-annealing", "arm": better, **{k: v for k, v in result.items() if k != "runs"}},
    )
    checkpoint.write_file(out / "mixture.yaml", dump_yaml(final.model_dump()).encode())
    return result


def _one(data: Path, out: Path, arm: str, seed: int, settings: TrainSettings, origin: Path) -> dict[str, float]:
    """Held-out bits per byte by source of one run; a run that was measured is not measured again."""
    folder = out / f"{arm}-s{seed}"
    path = folder / "heldout.json"
    train(data, folder, settings.model_copy(update={"seed": seed}), out / f"{arm}.yaml", origin)
    if path.exists():
        known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return known
    console.passing(f"measuring {arm}, seed {seed}")
    trained = checkpoint.open_model(folder, pick_device(settings.device))
    found = held_out(trained, data, baselines=False)
    bits = {name: row["bits_per_byte"]["model"] for name, row in found.items()}
    checkpoint.write_file(path, json.dumps(bits).encode())
    console.passing("")
    return bits


def judged(
    runs: Mapping[str, Mapping[int, Mapping[str, float]]], source: str, share: float, tokens: int
) -> dict[str, Any]:
    """Differences with less without, by held-out source, over the seeds."""
    seeds = sorted(runs["with"])
    found = {}
    for name in runs["with"][seeds[0]]:
        gap = paired([runs["with"][seed][name] - runs["without"][seed][name] for seed in seeds])
        assert gap is not None
        found[name] = gap.data()
    return {
        "source": source,
        "share": share,
        "tokens": tokens,
        "seeds": len(seeds),
        "measure": "bits per byte, with less without; below 0 the source helps",
        "differences": found,
        "runs": {arm: {str(seed): dict(row) for seed, row in each.items()} for arm, each in runs.items()},
    }


def text(result: dict[str, Any]) -> str:
    """The judgement as a table."""
    lines = []
    for name, one in result["differences"].items():
        low, high = one["interval"]
        word = "helps" if high < 0 else "hurts" if low > 0 else "not told apart"
        span = f"[{low:+.4f}, {high:+.4f}]"
        lines.append([name[:24], f"{one['value']:+.4f} ±{one['standard_error']:.4f}", span, word])
    heads = ["held-out source", "with - without", f"{100 * LEVEL:.0f} %", ""]
    title = f"bits per byte with {result['share']:.0%} of {result['source']}, less without; {result['seeds']} seeds"
    return f"{title}\n\n{console.table(heads, lines)}"
