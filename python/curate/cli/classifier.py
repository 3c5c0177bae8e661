"""`curate train-classifier`: train a text classifier on labeled documents, with an option for every TrainSettings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import console
from curate.cli.options import AS_JSON, COLUMNS, CONTEXT, OUT, given, print_json, setting_option, with_options
from curate.errors import ConfigError

if TYPE_CHECKING:
    from curate.io.inputs import InputSettings

SUMMARY = "Train a text classifier for quality or label."
HELP = f"""{SUMMARY}

Two classes, --positive and --negative, make a model for the stage quality; several --label NAME=PATH one for the stage
label. Paths are files, globs, folders, or folders of runs, with documents in any form that is read; SOURCE=PATH names
a source, and each source gives as many examples.

\b
    curate train-classifier --positive wiki=enc/ --positive books/ \\
        --negative spam.jsonl --target-keep 0.3 --out good
    curate quality docs/ --model good --keep above --out kept

--out gets model.bin, a supervised fastText model, and card.json: data, versions, figures on held-out examples."""


def train_command() -> click.Command:
    """The command. TrainSettings is imported here, since its fields become the options."""
    from curate.classifier.settings import TrainSettings

    def class_option(flag: str, name: str, metavar: str, text: str) -> Any:
        return click.option(flag, name, multiple=True, metavar=metavar, help=text)

    added = with_options(
        class_option("--positive", "positive", "[SOURCE=]PATH", "Good documents; may be repeated."),
        class_option("--negative", "negative", "[SOURCE=]PATH", "Bad documents; may be repeated."),
        class_option("--label", "labels", "NAME=PATH", "Documents of a class of this name; may be repeated."),
        *(setting_option(key, field) for key, field in TrainSettings.model_fields.items()),
        COLUMNS,
        click.option("--out", required=True, metavar="DIR", type=OUT, help="Folder for the model and its card."),
        AS_JSON,
    )
    made: click.Command = click.command("train-classifier", context_settings=CONTEXT, help=HELP)(added(train_run))
    return made


def train_run(
    positive: Sequence[str], negative: Sequence[str], labels: Sequence[str], columns: Sequence[str], out: str | Path,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train, and print what the card says."""
    from curate.classifier.settings import TrainSettings
    from curate.classifier.train import NEGATIVE, POSITIVE, train
    from curate.config import parse_pairs, validate

    settings = validate(TrainSettings, given(options, TrainSettings.model_fields), name="train-classifier")
    named = parse_pairs(columns, "--columns")
    inputs: dict[str, list[InputSettings]] = {}
    for label, texts in ((POSITIVE, positive), (NEGATIVE, negative)):
        if texts:
            inputs[label] = [_entry(text, named) for text in texts]
    for text in labels:
        name, equals, path = text.partition("=")
        if not equals or not name or not path or any(c.isspace() for c in name):
            raise ConfigError(f"--label {text}: expected NAME=PATH, and no space in the name")
        inputs.setdefault(name, []).append(_entry(path, named))
    if labels and (positive or negative):
        raise ConfigError("give either --positive and --negative, or --label")
    if not isinstance(out, Path):
        raise ConfigError(f"--out {out}: a classifier is written to a folder of this machine")
    card = train(inputs, settings, out)
    print_json(card) if as_json else _show(card, out)


def _entry(text: str, columns: dict[str, str]) -> "InputSettings":
    """`[SOURCE=]PATH` as an input."""
    from curate.config import split_source, validate
    from curate.io.inputs import InputSettings

    source, path = split_source(text)
    return validate(InputSettings, {"path": path, "columns": columns, "source": source or "main"}, name="input")


def _show(card: dict[str, Any], out: Path) -> None:
    """The card in words: examples, accuracy, and the curve or the table of labels."""
    figures, data = card["heldout"], card["data"]
    rows = [
        [part, entry["label"], entry["source"], f"{entry['examples']:,}"]
        for part in ("train", "heldout")
        for entry in data[part]
    ]
    console.out(console.table(["part", "label", "source", "examples"], rows))
    left = {"too short": data["too_short"], "with a benchmark's words": data["held_by_benchmarks"],
            "with held-out words": data["held_by_heldout"]}  # fmt: skip
    told = ", ".join(f"{count:,} {what}" for what, count in left.items())
    console.out(console.wrap(f"\nof {data['documents']:,} documents left out: {told}"))
    console.out(f"held-out accuracy {figures['accuracy']:.4f} on {figures['examples']:,} examples\n")
    if "curve" in figures:
        lines = [[f"{p['threshold']:.4f}", f"{p['kept']:.2f}", f"{p['precision']:.3f}", f"{p['recall']:.3f}"]
                 for p in (*figures["curve"], figures["at_threshold"])]  # fmt: skip
        lines[-1][0] += " *"
        console.out(console.table(["threshold", "kept", "precision", "recall"], lines))
        console.out(f"\nAUC {figures['auc']:.4f}; * the threshold of the card -> {out}")
        return
    table = [
        [label, *map(str, counts), f"{precision:.3f}", f"{recall:.3f}"]
        for label, counts, precision, recall in zip(
            figures["labels"], figures["confusion"], figures["precision"], figures["recall"], strict=True
        )
    ]
    console.out(console.table(["true \\ said", *figures["labels"], "precision", "recall"], table))
    console.out(f"\n-> {out}")
