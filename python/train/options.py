"""What the options of several `train` commands have in common: types of paths, --json, --device and --threads."""

import click

from curate import console

FOLDER = console.Place(local=True)
OUT = console.Place(local=True, made=True)
OUT_FILE = console.Place(local=True)
CHECKPOINT = click.option(
    "--checkpoint", required=True, type=FOLDER, metavar="DIR", help="Folder of a model or of one checkpoint."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
DEVICE = click.option("--device", metavar="NAME", default="auto", help="cpu, cuda, or auto (the default).")
THREADS = click.option(
    "--threads", metavar="N", type=click.IntRange(min=0), default=0, help="CPU threads; 0, the default, takes all."
)
SET = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting of `train run`, for example optim.learning_rate=0.001.",
)
