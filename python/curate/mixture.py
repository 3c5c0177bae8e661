"""The MIXTURE file: how many tokens training reads and from which source. It means the same to every program here.

    version: 1
    tokenizer_sha256: …
    phases:
      - {name: main, tokens: 2000000, weights: {book: 0.4, code: 0.6}, max_epochs: {book: 4}}

The stage mix writes it, `curate export` orders documents by it, and `train run --mixture` reads it.
"""

from typing import Literal

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

    @property
    def tokens(self) -> int:
        """Tokens of all phases."""
        return sum(phase.tokens for phase in self.phases)
