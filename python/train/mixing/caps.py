"""How often a source may be read, and the MIXTURE file that all ways of mixing write.

A token read again is worth less than a new one: after r repeats e^(-r / R), R = 15.387756 (arXiv 2305.16264). So U
different tokens that are read r + 1 times are worth U (1 + R (1 - e^(-r / R))) new ones. A cap says how many epochs a
source may have; four, the default, end where a token is worth .82 of a new one.
"""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from curate.config import dump_yaml
from curate.errors import ConfigError
from curate.mixture import Mixture, MixturePhase, capped
from train.checkpoint import write_file
from train.scaling.laws import REPEAT_TOKENS, worth
from train.shards import Manifest


def epochs_worth(share: float) -> float:
    """Epochs after which a repeated token is worth `share` of a new one: 1 - R ln share."""
    if not 0 < share <= 1:
        raise ConfigError(f"--worth: must be above 0 and at most 1, found {share:g}")
    return 1 - REPEAT_TOKENS * math.log(share)


def tokens_of(manifest: Manifest) -> dict[str, int]:
    """Tokens of every source that has some."""
    return {name: counts["tokens"] for name, counts in sorted(manifest.sources.items()) if counts["tokens"]}


def by_pattern(
    names: Sequence[str], given: Sequence[str], option: str, default: float, least: float = 0.0
) -> dict[str, float]:
    """A number for each source from options PATTERN=X, a later one before an earlier one.

    Raises ConfigError for a pattern that no source has, and for a number that is not above `least`.
    """
    found = dict.fromkeys(names, default)
    for text in given:
        pattern, mark, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not mark or not least < value < math.inf:
            raise ConfigError(f"{option} {text}: expected SOURCE=NUMBER with a number above {least:g}")
        hits = [name for name in names if fnmatchcase(name, pattern)]
        if not hits:
            raise ConfigError(f"{option} {text}: no source is named so; there are {', '.join(names)}")
        found.update(dict.fromkeys(hits, value))
    return found


def fit_caps(
    weights: Mapping[str, float], available: Mapping[str, int], epochs: Mapping[str, float], tokens: int
) -> dict[str, float]:
    """Shares near `weights` that need no source more often than its epochs allow.

    Raises ConfigError, saying what can be had, where all sources together do not suffice.
    """
    room = {name: epochs[name] * available[name] for name in weights if weights[name] > 0}
    if sum(room.values()) < tokens:
        lines = [
            f"  {name}: {available[name]:,} tokens, {epochs[name]:.4g} epochs, {int(room[name]):,} at most"
            for name in room
        ]
        raise ConfigError(
            f"{tokens:,} tokens are asked for, and the caps allow {int(sum(room.values())):,}:\n"
            + "\n".join(lines)
            + "\nAsk for fewer tokens, or raise --max-epochs or --cap of a source."
        )
    total = sum(weights[name] for name in room)
    shares = capped({name: weights[name] / total for name in room}, {name: room[name] / tokens for name in room})
    return {name: float(f"{shares.get(name, 0.0):.9g}") for name in weights}


def write_mixture(
    path: Path,
    manifest: Manifest,
    tokens: int,
    weights: Mapping[str, float],
    epochs: Mapping[str, float],
    evidence: Mapping[str, Any],
) -> Mixture:
    """Write a MIXTURE of one phase with its evidence, to which epochs and worth of every source are added."""
    available = tokens_of(manifest)
    sources = {}
    for name, share in weights.items():
        passes = share * tokens / available[name]
        unique = min(available[name], share * tokens)
        sources[name] = {
            "tokens": available[name],
            "epochs": round(passes, 6),
            "worth_tokens": round(float(worth(unique, max(passes - 1, 0), REPEAT_TOKENS))),
        }
    used = {name: share for name, share in weights.items() if share > 0}
    phase = MixturePhase(name="main", tokens=tokens, weights=used, max_epochs={name: epochs[name] for name in used})
    mixture = Mixture(
        version=1,
        tokenizer_sha256=manifest.tokenizer_sha256,
        phases=[phase],
        evidence={**evidence, "sources": sources},
    )
    write_file(path, dump_yaml(mixture.model_dump()).encode())
    return mixture
