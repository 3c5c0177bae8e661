"""`train mixture rule`: weights by the tokens that there are, times factors, within caps.

    weight ~ tokens^(1 / temperature) * factor

Temperature 1 is in proportion to tokens; larger values raise the share of small sources (arXiv 1907.05019). A factor
raises or lowers a source: of a quality tier (a curve over tiers is a factor each), or of documents with many copies.
Sources may be made of any column: `curate buckets --source-name {source}-{by}-{bucket}` names them by source, topic
and tier.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from curate.config import dump_yaml, load_yaml, validate
from curate.errors import ConfigError
from curate.mixture import Mixture
from train.checkpoint import write_file
from train.mixing.caps import by_pattern, fit_caps, tokens_of, write_mixture
from train.shards import open_shards

# Repeats of a document by its number of copies, as FineWeb-2 gives them (1, 2, 3 and 4, 5 and more, 100 and more,
# 1,000 and more); the sources are those of `curate buckets --column n_copies` with the edges 2, 3, 5, 100 and 1000.
PRESETS = {"fineweb-2": ("*-0=1", "*-1=2", "*-2=3", "*-3=5", "*-4=8", "*-5=1")}


def preset_factors(name: str, names: Sequence[str]) -> list[str]:
    """The factors of a preset whose patterns a source has. Raises ConfigError where none has any."""
    found = [one for one in PRESETS[name] if any(fnmatchcase(source, one.partition("=")[0]) for source in names)]
    if not found:
        raise ConfigError(
            f"--preset {name}: no source is named by its number of copies; make them so with `curate buckets "
            "--column n_copies --source-name {source}-{bucket} --edges 2 --edges 3 --edges 5 --edges 100 --edges 1000`"
        )
    return found


def rule(
    data: Path,
    out: Path,
    tokens: int | None,
    temperature: float,
    factors: Sequence[str],
    max_epochs: float,
    caps: Sequence[str],
    preset: str | None = None,
) -> Mixture:
    """Write the MIXTURE `out`; a preset's factors come before `factors`.

    Raises ConfigError for numbers that cannot be, and where the caps do not suffice.
    """
    if not temperature > 0:
        raise ConfigError(f"--temperature: must be above 0, found {temperature:g}")
    manifest = open_shards(data / "tokens").manifest
    available = tokens_of(manifest)
    if not available:
        raise ConfigError(f"{data}: there are no tokens to mix")
    names = list(available)
    first = preset_factors(preset, names) if preset else []
    factor = by_pattern(names, [*first, *factors], "--factor", 1.0, -1e-300)
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
        "preset": preset,
        "factors": {name: value for name, value in factor.items() if value != 1},
        "before_caps": {name: round(weight, 9) for name, weight in weights.items()},
        "capped": cut,
    }
    return write_mixture(out, manifest, asked, shares, epochs, evidence)


def join(first: Path, last: Path, share: float, out: Path) -> Mixture:
    """Write a MIXTURE that reads `first`, and in the last `share` of its tokens `last`, to anneal on.

    Raises ConfigError where a file is no MIXTURE, and where the two were made for different tokenizers.
    """
    if not 0 < share < 1:
        raise ConfigError(f"--share: must be between 0 and 1, found {share:g}")
    parts = []
    for path in (first, last):
        document = load_yaml(path)
        parts.append(validate(Mixture, document.data, document))
    known = {part.tokenizer_sha256 for part in parts} - {None}
    if len(known) > 1:
        raise ConfigError(f"{first} and {last} were made for different tokenizers")
    total, phases = parts[0].tokens, []
    for part, name, factor in zip(parts, ("main", "anneal"), (1 - share, share), strict=True):
        for number, phase in enumerate(part.phases, 1):
            tokens = max(1, round(phase.tokens / part.tokens * total * factor))
            label = name if len(part.phases) == 1 else f"{name} {number}"
            phases.append(phase.model_copy(update={"name": label, "tokens": tokens}))
    evidence = {"method": "annealing", "share": share, "main": parts[0].evidence, "anneal": parts[1].evidence}
    made = Mixture(version=1, tokenizer_sha256=next(iter(known), None), phases=phases, evidence=evidence)
    write_file(out, dump_yaml(made.model_dump()).encode())
    return made
