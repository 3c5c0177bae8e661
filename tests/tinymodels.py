"""Models made on the spot: a tokenizer of 400 tokens trained on the articles of corpus.py, and weights of a seed."""

import hashlib
import random
from functools import cache
from pathlib import Path
from typing import Any

import corpus
from shards import VOCAB, tokenizer_of
from train import checkpoint
from train.config import load_settings, resolve, shape_of
from train.model import build, tensors_of


@cache
def tokenizer() -> bytes:
    """tokenizer.json, byte level, the end-of-document id 0."""
    rng = random.Random(1)
    return tokenizer_of([corpus.article(rng, 8) for _ in range(40)])


def write_model(folder: Path, *assignments: str, seed: int = 1) -> Path:
    """A model folder with a checkpoint of step 0, rows of 128 tokens."""
    how = ("sequence_length=128", "precision=fp32", *assignments)
    settings = resolve(load_settings(None, how, size="tiny"), "cpu", False)
    facts: dict[str, Any] = {
        "data": "",
        "plan": "",
        "init": "",
        "end_of_document": 0,
        "settings": settings.model_dump(),
    }
    facts |= {"shape": shape_of(settings, VOCAB).model_dump()}
    facts |= {"tokenizer_sha256": hashlib.sha256(tokenizer()).hexdigest()}
    model = build(shape_of(settings, VOCAB), seed)
    checkpoint.write_file(folder / "tokenizer.json", tokenizer())
    checkpoint.save(folder, 0, {"weights": tensors_of(model)}, facts, keep=1)
    return folder
