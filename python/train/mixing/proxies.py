"""Proxies of a regression: mixtures that are drawn, small models trained on them, and the table of their losses.

    OUT/proxies.json    what is trained, and on which mixtures             `train mixture plan`
    OUT/proxies/NNNN/   a training run each, which continues               `train mixture run`
    OUT/table.jsonl     {"proxy": 3, "weights": {…}, "losses": {…}}, held-out bits per byte by source
    OUT/law.json        the law of every target, with the table            `train mixture fit`

Tables made elsewhere come as two CSV files of numbers with a header, one of weights and one of losses, whose first
columns name the runs.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate import console
from curate.config import Settings, dump_yaml, setting, validate
from curate.errors import ConfigError, DataError, ResumeError
from curate.mixture import Mixture, MixturePhase
from train import checkpoint
from train.config import TrainSettings
from train.evaluation.bits_per_byte import held_out
from train.machine import pick_device, set_threads
from train.mixing.caps import by_pattern, fit_caps, tokens_of, write_mixture
from train.mixing.regression import Array, Law, draw_mixtures, fit_law, fit_laws, predictions, solve
from train.scaling.fit import interval
from train.shards import open_shards
from train.train import train

PLAN, TABLE, LAW = "proxies.json", "table.jsonl", "law.json"
DRAWS = 40  # of the bootstrap of a predicted difference


class ProxyPlan(Settings):
    """Proxies, all trained with the same settings."""

    version: int = 1
    data: str
    fingerprint: str = setting(..., "of the shards")
    tokens: int = setting(..., "of each proxy", unit="tokens", gt=0)
    settings: dict[str, Any]
    prior: dict[str, float]
    max_epochs: dict[str, float]
    mixtures: list[dict[str, float]]


def make_plan(
    data: Path, out: Path, count: int, tokens: int, asked: TrainSettings, max_epochs: float, caps: Sequence[str],
    strengths: tuple[float, float], seed: int,
) -> ProxyPlan:  # fmt: skip
    """Draw the mixtures and write OUT/proxies.json. Raises ConfigError, ResumeError for a folder of another plan."""
    if not 0 < strengths[0] <= strengths[1]:
        raise ConfigError(
            f"--strength: two numbers above 0, the smaller first, found {strengths[0]:g},{strengths[1]:g}"
        )
    shards = open_shards(data / "tokens")
    open_shards(data / "heldout" / "tokens")  # where losses are measured
    available = tokens_of(shards.manifest)
    if len(available) < 2:
        raise ConfigError(f"{data}: {console.plural(len(available), 'source')}; a mixture needs two or more")
    if count < len(available) + 2:
        raise ConfigError(f"--proxies {count}: too few for {len(available)} sources; at least {len(available) + 2}")
    prior = {name: n / sum(available.values()) for name, n in available.items()}
    epochs = by_pattern(list(available), caps, "--cap", max_epochs)
    fit_caps(prior, available, epochs, tokens)
    largest = {name: min(1.0, epochs[name] * n / tokens) for name, n in available.items()}
    plan = ProxyPlan(
        data=str(data),
        fingerprint=shards.fingerprint,
        tokens=tokens,
        settings=asked.model_dump(exclude={"tokens", "minutes", "max_epochs"}),
        prior=prior,
        max_epochs=epochs,
        mixtures=draw_mixtures(prior, largest, count, seed, strengths),
    )
    path = out / PLAN
    if path.exists() and read_plan(out) != plan:
        raise ResumeError(f"{path} is another plan; name another --out folder, or remove it and its proxies")
    checkpoint.write_file(path, json.dumps(plan.model_dump(), indent=1).encode())
    return plan


def read_plan(out: Path) -> ProxyPlan:
    """OUT/proxies.json. Raises ConfigError where there is none."""
    try:
        content = json.loads((out / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{out / PLAN}: no plan: {error}; `train mixture plan` makes one") from None
    return validate(ProxyPlan, content, name=str(out / PLAN))


def run_proxies(out: Path, device: str = "auto", threads: int = 0) -> dict[str, int]:
    """Train and measure the proxies that the table lacks; returns counts."""
    plan = read_plan(out)
    data = Path(plan.data)
    manifest = open_shards(data / "tokens")
    if manifest.fingerprint != plan.fingerprint:
        raise ResumeError(f"{data}: the token shards are not those that {out} was planned for; make a new plan")
    done, added = {row["proxy"] for row in _rows(out)}, 0
    for number, weights in enumerate(plan.mixtures):
        if number in done:
            continue
        console.err(f"proxy {number + 1} of {len(plan.mixtures)}")
        folder = out / "proxies" / f"{number:04}"
        used = {name: share for name, share in weights.items() if share > 0}
        phase = MixturePhase(name="main", tokens=plan.tokens, weights=used, max_epochs=plan.max_epochs)
        mixture = Mixture(version=1, tokenizer_sha256=manifest.manifest.tokenizer_sha256, phases=[phase])
        path = out / "proxies" / f"{number:04}.yaml"
        checkpoint.write_file(path, dump_yaml(mixture.model_dump()).encode())
        settings = validate(TrainSettings, {**plan.settings, "tokens": plan.tokens}, name=f"{PLAN}: settings")
        train(data, folder, settings.model_copy(update={"device": device, "threads": threads}), path)
        set_threads(threads)
        found = held_out(checkpoint.open_model(folder, pick_device(device)), data, baselines=False)
        losses = {name: row["bits_per_byte"]["model"] for name, row in found.items()}
        with (out / TABLE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"proxy": number, "weights": weights, "losses": losses}) + "\n")
        added += 1
    return {"proxies": len(plan.mixtures), "measured": len(done) + added, "measured_now": added}


def _rows(out: Path) -> list[dict[str, Any]]:
    """The table; the end of a line that was cut short is taken away."""
    path = out / TABLE
    rows = []
    for number, line in enumerate(checkpoint.whole_lines(path).splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append({key: row[key] for key in ("proxy", "weights", "losses")})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: not a measured proxy: {error}; remove the line, it is made again"
            ) from None
    return rows


def read_table(
    out: Path, weights_csv: Path | None, losses_csv: Path | None
) -> tuple[list[str], Array, dict[str, Array]]:
    """(sources, x [n, k], losses by target) of OUT/table.jsonl, or of two CSV files. Raises ConfigError, DataError."""
    if bool(weights_csv) != bool(losses_csv):
        raise ConfigError("--weights and --losses belong together: give both, or neither for DIR/table.jsonl")
    if weights_csv and losses_csv:
        names, weights = _csv(weights_csv)
        targets, losses = _csv(losses_csv)
        keys = [key for key in weights if key in losses]
        if len(keys) < max(len(weights), len(losses)):
            missing = sorted(weights.keys() ^ losses.keys())
            console.err(f"note: {console.plural(len(missing), 'run')} in one of the two files only, as {missing[0]}")
        x = np.array([weights[key] for key in keys]).reshape(-1, len(names))
        y = np.array([losses[key] for key in keys]).reshape(-1, len(targets))
        found = dict(zip(targets, y.T, strict=True))
    else:
        rows = _rows(out)
        if not rows:
            raise ConfigError(f"{out / TABLE}: no proxies are measured; `train mixture run` does that")
        names, targets = list(rows[0]["weights"]), list(rows[0]["losses"])
        x = np.array([[row["weights"][name] for name in names] for row in rows])
        found = {target: np.array([row["losses"][target] for row in rows]) for target in targets}
    total = x.sum(axis=1)
    far = int(np.abs(total - 1).argmax()) if len(x) else 0
    if len(x) and (not np.isfinite(total[far]) or abs(total[far] - 1) > 0.02 or (x < 0).any()):
        raise DataError(f"weights must be at least 0 and sum to 1; those of row {far + 1} sum to {total[far]:.4f}")
    return names, x / total[:, None], found


def _csv(path: Path) -> tuple[list[str], dict[str, list[float]]]:
    """(columns but the first, numbers by the first column)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataError(f"{path}: expected a header and rows of a name and numbers")
    found: dict[str, list[float]] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        if len(line) != len(lines[0]) or line[0] in found:
            raise DataError(f"{path}:{number}: expected a run of its own with {len(lines[0]) - 1} numbers")
        try:
            found[line[0]] = [float(value) for value in line[1:]]
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from None
    return lines[0][1:], found


def fit_table(out: Path, weights_csv: Path | None, losses_csv: Path | None) -> dict[str, Any]:
    """The laws of a table, written to OUT/law.json with the table itself."""
    names, x, losses = read_table(out, weights_csv, losses_csv)
    found = fit_laws(x, losses)
    result = {
        "sources": names,
        "proxies": len(x),
        "targets": {
            target: {
                "floor": law.floor,
                "slopes": dict(zip(names, law.slopes.tolist(), strict=True)),
                "left_out_error": law.left_out_error,
                "left_out_spearman": law.left_out_spearman,
                "deviation_of_losses": float(losses[target].std()),
            }
            for target, law in found.items()
        },
        "table": {"weights": x.tolist(), "losses": {target: y.tolist() for target, y in losses.items()}},
    }
    checkpoint.write_file(out / LAW, json.dumps(result, indent=1).encode())
    return result


def best_mixture(
    data: Path, out: Path, file: Path, tokens: int | None, targets: Sequence[str], closeness: float, max_epochs: float,
    caps: Sequence[str],
) -> Mixture:  # fmt: skip
    """The mixture of the least mean loss by OUT/law.json under caps, written to `file` with what the law foretells."""
    try:
        law = json.loads((out / LAW).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{out / LAW}: no law: {error}; `train mixture fit` makes one") from None
    manifest = open_shards(data / "tokens").manifest
    available = tokens_of(manifest)
    names = law["sources"]
    if unlike := sorted(set(names) ^ set(available)):
        raise ConfigError(f"{out / LAW}: its sources are not those of {data}: {', '.join(unlike[:5])}")
    wanted = list(targets) or [name for name in law["targets"] if name != "all"] or list(law["targets"])
    if unknown := [name for name in wanted if name not in law["targets"]]:
        raise ConfigError(f"--target {unknown[0]}: the law has {', '.join(law['targets'])}")
    if not closeness >= 0:
        raise ConfigError(f"--closeness: must be at least 0, found {closeness:g}")
    total = tokens or sum(available.values())
    epochs = by_pattern(names, caps, "--cap", max_epochs)
    prior = np.array([available[name] for name in names], dtype=np.float64) / sum(available.values())
    fit_caps(dict(zip(names, prior, strict=True)), available, epochs, total)  # ConfigError where caps do not suffice
    largest = np.array([min(1.0, epochs[name] * available[name] / total) for name in names])
    laws = {
        name: Law(
            one["floor"], np.array([one["slopes"][s] for s in names]), one["left_out_error"], one["left_out_spearman"]
        )
        for name, one in law["targets"].items()
    }
    x, _ = solve([laws[name] for name in wanted], np.full(len(wanted), 1 / len(wanted)), prior, largest, closeness)
    shares = fit_caps({name: float(w) if w >= 1e-6 else 0.0 for name, w in zip(names, x, strict=True)},
                      available, epochs, total)  # fmt: skip
    evidence = {
        "method": "proxy regression",
        "proxies": law["proxies"],
        "targets": wanted,
        "closeness": closeness,
        "left_out_spearman": {name: laws[name].left_out_spearman for name in wanted},
        "predicted": predictions(laws, x),
        "predicted_proportional": predictions(laws, prior),
        "gain": _gain(law["table"], wanted, x, prior),
    }
    return write_mixture(file, manifest, total, shares, epochs, evidence)


def _gain(table: Mapping[str, Any], targets: Sequence[str], x: Array, prior: Array) -> dict[str, Any]:
    """Mean predicted loss of the mixture less that of the proportional one, with a 90 % interval over drawn proxies."""
    weights = np.array(table["weights"])
    values = []
    rng = np.random.default_rng(1)
    for draw in range(DRAWS + 1):
        rows = np.arange(len(weights)) if draw == 0 else rng.integers(0, len(weights), len(weights))
        fitted = [fit_law(weights[rows], np.array(table["losses"][name])[rows]) for name in targets]
        values.append(float(np.mean([one.loss(x) - one.loss(prior) for one in fitted])))
    span = interval(values[1:])
    return {"mean": values[0], "interval": list(span) if span else None}
