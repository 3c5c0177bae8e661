"""Models made on the spot: a tokenizer of 400 tokens trained on the articles of corpus.py, and weights of a seed."""

import hashlib
import random
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

import corpus
from curate import _rust
from curate.tokenizer.files import Model as Merges
from curate.tokenizer.files import tokenizer_json
from curate.tokenizer.model import END_OF_DOCUMENT
from train import checkpoint
from train.config import load_settings, resolve, shape_of
from train.model import build, tensors_of

VOCAB = 400


@cache
def tokenizer() -> bytes:
    """tokenizer.json, byte level, the end-of-document id 0."""
    rng = random.Random(1)
    texts = pa.array([corpus.article(rng, 8) for _ in range(40)], pa.large_string())
    pretokens = _rust.count_pretokens(texts, pattern="gpt2")
    trained = _rust.train_bpe(*map(pa.array, pretokens), vocab_size=VOCAB, special_tokens=[END_OF_DOCUMENT])
    vocab, left, right = map(pa.array, trained)
    return tokenizer_json(Merges(vocab, left, right, _rust.pattern_expression("gpt2"), [END_OF_DOCUMENT]))


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
