"""The MIXTURE file: how many tokens training reads and from which source. It means the same to every program here.

    version: 1
    tokenizer_sha256: …
    phases:
      - {name: main, tokens: 2000000, weights: {book: 0.4, code: 0.6}, max_epochs: {book: 4}}

The stage mix and `train mixture` write it, `curate export` orders documents by it, and `train run --mixture` reads it.
`evidence` says what the weights come from; nothing reads it but people.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from curate.config import Settings, setting


class MixturePhase(Settings):
    """A stretch of the run with its own weights."""

    name: str = setting(..., "name of the phase")
    tokens: int = setting(..., "its length", unit="tokens", gt=0)
    weights: dict[str, float] = setting(..., "share of the tokens by source; scaled to sum 1", min_length=1)
    max_epochs: dict[str, float] = Field(
        default={}, description="passes over each source that the run may have made by the end of the phase"
    )


class Mixture(Settings):
    """A MIXTURE file, version 1."""

    version: Literal[1] = setting(..., "version of the format")
    tokenizer_sha256: str | None = setting(None, "the tokenizer whose tokens are counted")
    phases: list[MixturePhase] = setting(..., "one after the other", min_length=1)
    evidence: dict[str, Any] = setting({}, "what the weights come from")

    @property
    def tokens(self) -> int:
        """Tokens of all phases."""
        return sum(phase.tokens for phase in self.phases)


def capped(weights: Mapping[str, float], caps: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1, none above its cap: what a cap takes away goes to the rest in proportion.

    weights: positive, sum 1. caps: of each share; they sum to 1 or more.
    """
    shares = dict(weights)
    fixed: set[str] = set()
    # Each round fixes the sources above their caps, which raises the others: at most as many rounds as sources.
    while over := [name for name in shares if name not in fixed and shares[name] > caps[name] * (1 + 1e-12)]:
        fixed.update(over)
        left = 1.0 - sum(caps[name] for name in fixed)
        free = sum(weights[name] for name in shares if name not in fixed)
        shares = {name: caps[name] if name in fixed else weights[name] * left / free for name in shares}
    return shares
