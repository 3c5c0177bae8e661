"""`train mixture rule`: weights by the tokens that there are, times factors, within caps.

    weight ~ tokens^(1 / temperature) * factor

Temperature 1 is in proportion to tokens; larger values raise the share of small sources (arXiv 1907.05019). A factor
raises or lowers a source: of a quality tier (a curve over tiers is a factor each), or of documents with many copies.
Sources may be made of any column: `curate buckets --source-name {source}-{by}-{bucket}` names them by source, topic
and tier.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import ConfigError
from curate.mixture import Mixture
from train.mixing.caps import by_pattern, fit_caps, tokens_of, write_mixture
from train.shards import open_shards


def rule(
    data: Path,
    out: Path,
    tokens: int | None,
    temperature: float,
    factors: Sequence[str],
    max_epochs: float,
    caps: Sequence[str],
) -> Mixture:
    """Write the MIXTURE `out`. Raises ConfigError for numbers that cannot be, and where the caps do not suffice."""
    if not temperature > 0:
        raise ConfigError(f"--temperature: must be above 0, found {temperature:g}")
    manifest = open_shards(data / "tokens").manifest
    available = tokens_of(manifest)
    if not available:
        raise ConfigError(f"{data}: there are no tokens to mix")
    names = list(available)
    factor = by_pattern(names, factors, "--factor", 1.0, -1e-300)
    epochs = by_pattern(names, caps, "--cap", max_epochs)
    largest = max(available.values())
    raw = {name: (count / largest) ** (1 / temperature) * factor[name] for name, count in available.items()}
    if not sum(raw.values()):
        raise ConfigError("--factor: all sources have the factor 0")
    asked = tokens or sum(count for name, count in available.items() if raw[name])
    weights = {name: weight / sum(raw.values()) for name, weight in raw.items()}
    shares = fit_caps(weights, available, epochs, asked)
    cut = sorted(name for name in names if shares[name] < weights[name] * (1 - 1e-6))
    evidence: dict[str, Any] = {
        "method": "temperature" if temperature != 1 else "proportional",
        "temperature": temperature,
        "factors": {name: value for name, value in factor.items() if value != 1},
        "before_caps": {name: round(weight, 9) for name, weight in weights.items()},
        "capped": cut,
    }
    return write_mixture(out, manifest, asked, shares, epochs, evidence)
