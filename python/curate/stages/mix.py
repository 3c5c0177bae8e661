"""mix: how much of each source a training run reads, checked against the tokens there are.

The weight of a source is its share of the tokens that training reads. Weights are given, or follow from the token
counts: weight ~ tokens^(1/temperature), as in multilingual training (arXiv 1907.05019). Temperature 1 weighs sources
in proportion to their tokens; larger values raise the share of small ones. No source is read more than `max_epochs`
times: what a source cannot give for that reason the others give, in proportion. Of the sources that `synthetic` names,
which models wrote, all together are at most `max_synthetic` of what is read; a model that learns from little but texts
of models loses what is rare in real ones (`train audit collapse`). The result is mixture.yaml in the run's folder;
`train run --data RUN` reads it.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from curate.config import Settings, dump_yaml, setting, suggest
from curate.errors import ConfigError
from curate.mixture import capped
from curate.stages.protocol import Channel, Phase, Reads, Stage


class Mix(Settings):
    """How many tokens a training run takes, and from which source."""

    tokens: int | None = setting(None, "tokens to train on; by default each token once", unit="tokens", ge=1)
    weights: dict[str, float] | None = setting(
        None, "share of each source, scaled to sum 1; by default it follows from the temperature"
    )
    temperature: float = setting(1.0, "1: in proportion to tokens; larger raises the share of small sources", gt=0)
    max_epochs: float = setting(4.0, "no source is read more often than this", gt=0)
    synthetic: list[str] = setting([], "sources whose documents a model wrote")
    max_synthetic: float = setting(1.0, "largest share of these sources together", ge=0, le=1)
    manifest: str | None = setting(None, "tokens/manifest.json of another run; by default this run's")

    @field_validator("weights")
    @classmethod
    def _weights_can_be_shares(cls, weights: dict[str, float] | None) -> dict[str, float] | None:
        """ValueError where a weight is negative, or all are 0: they are scaled to sum 1."""
        for name, weight in (weights or {}).items():
            if weight < 0:
                raise ValueError(f"the weight of {name} is {weight:g}, below 0")
        if weights is not None and not any(weights.values()):
            raise ValueError("at least one must be more than 0")
        return weights


def plan(config: Mix, reads: Reads) -> Mapping[str, bytes]:
    """The content of mixture.yaml, from the tokens that manifest.json counts."""
    manifest = json.loads(reads.path("tokenize.manifest.manifest").read_bytes())
    return {"mixture": dump_yaml(mixture(config, manifest)).encode()}


def mixture(config: Mix, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved mixture as plain data; `manifest` is the content of manifest.json (see stages/tokenize.py).

    Raises ConfigError where there are no tokens, where a weight names a source without tokens, and where `tokens` are
    more than all sources give in `max_epochs` passes.
    """
    available = {name: entry["tokens"] for name, entry in sorted(manifest["sources"].items()) if entry["tokens"]}
    for name in config.synthetic:
        if name not in manifest["sources"]:
            raise ConfigError(f'mix.synthetic: there is no source "{name}"{suggest(name, list(manifest["sources"]))}')
    if not available:
        raise ConfigError("mix: there are no tokens to mix; every document was dropped or set aside")
    weights = _weights(config, available)
    total = config.tokens or sum(available[name] for name in weights)
    # Tokens that a source can give at most.
    capacity = {name: config.max_epochs * available[name] for name in weights}
    if sum(capacity.values()) < total:
        raise ConfigError(
            f"mix.tokens: {total:,} tokens are asked for, and {sum(available.values()):,} tokens read at most "
            f"{config.max_epochs:g} times give {int(sum(capacity.values())):,}; ask for fewer, or raise mix.max_epochs"
        )
    shares = capped(weights, {name: capacity[name] / total for name in weights})
    if sum(shares.get(name, 0.0) for name in config.synthetic) > config.max_synthetic:
        shares = _with_less_synthetic(config, weights, capacity, total)
    phase = {
        "name": "main",
        "tokens": total,
        # Significant digits, not decimals: the share of a small source is no 0.
        "weights": {name: float(f"{share:.9g}") for name, share in shares.items()},
        "max_epochs": {name: config.max_epochs for name in shares},
    }
    return {"version": 1, "tokenizer_sha256": manifest["tokenizer_sha256"], "phases": [phase]}


def _weights(config: Mix, available: Mapping[str, int]) -> dict[str, float]:
    """Shares of the sources, sum 1, before any cap; available: tokens of every source that has some."""
    if config.weights is None:
        raw = {name: count ** (1 / config.temperature) for name, count in available.items()}
    else:
        raw = {name: weight for name, weight in sorted(config.weights.items()) if weight}
        for name in raw:
            if name not in available:
                raise ConfigError(f'mix.weights: no tokens of a source "{name}"; there are: {", ".join(available)}')
    total = sum(raw.values())
    return {name: weight / total for name, weight in raw.items()}


def _with_less_synthetic(
    config: Mix, weights: Mapping[str, float], capacity: Mapping[str, float], total: int
) -> dict[str, float]:
    """Shares of which the synthetic sources have `max_synthetic` together, and the others the rest.

    Raises ConfigError where the others do not give that much in `max_epochs` passes.
    """
    shares: dict[str, float] = {}
    for written, part in ((True, config.max_synthetic), (False, 1.0 - config.max_synthetic)):
        some = {name: weight for name, weight in weights.items() if (name in config.synthetic) == written}
        have = sum(capacity[name] for name in some)
        if part * total > have * (1 + 1e-9):
            raise ConfigError(
                f"mix.max_synthetic: {part:.4g} of {total:,} tokens have to come from sources that no model wrote,"
                f" and these give {int(have):,} in {config.max_epochs:g} passes; ask for {int(have / part):,} tokens "
                "or fewer, or raise mix.max_synthetic or mix.max_epochs"
            )
        if part:
            scale = sum(some.values())
            caps = {name: capacity[name] / total / part for name in some}
            found = capped({name: weight / scale for name, weight in some.items()}, caps)
            shares |= {name: part * share for name, share in found.items()}
    return dict(sorted(shares.items()))


STAGE = Stage(
    name="mix",
    version=3,
    summary="Plan how sources are mixed for training.",
    config=Mix,
    rows=lambda config: "any",
    needs=lambda config: (),
    files=lambda config: {"manifest": [config.manifest]} if config.manifest else {},
    phases=(
        Phase(
            "plan",
            "all",
            run=plan,
            side=("tokenize.manifest.manifest",),
            emits=(Channel("mixture", path="mixture.yaml"),),
        ),
    ),
)
