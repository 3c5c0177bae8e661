"""Static embedding models: both forms are read, vectors are exact, and words that mean the same are found."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from safetensors.numpy import save_file

from conftest import Finished
from curate.dedup.static_model import directions, files_of, open_static, shape_of
from curate.errors import ConfigError

PAIRS, DIM = 400, 32  # words that mean the same in pairs: here0 and there0, …
WORDS = [f"{name}{number}" for number in range(PAIRS) for name in ("here", "there")]


def tokenizer() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, **{word: 1 + n for n, word in enumerate(WORDS)}}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.enable_truncation(4)  # a model cuts texts for its own purposes; here they count whole
    made.enable_padding(length=9)
    return made


def meanings() -> np.ndarray:
    """float32 [PAIRS, DIM]."""
    return np.random.default_rng(1).normal(size=(PAIRS, DIM)).astype(np.float32)


def model2vec(folder: Path) -> Path:
    """Both words of a pair have the pair's row; weights are 1 for words and 9 for what is unknown."""
    folder.mkdir()
    mapping = np.array([0, *(n // 2 for n in range(2 * PAIRS))])
    tensors = {"embeddings": meanings().astype(np.float16), "mapping": mapping,
               "weights": np.array([9.0] + [1.0] * (2 * PAIRS))}  # fmt: skip
    save_file(tensors, folder / "model.safetensors")
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"normalize": True}))
    return folder


def sentence_transformers(folder: Path) -> Path:
    """A row for every token, those of a pair a little apart; the folder in which that package nests it."""
    (folder / "0_StaticEmbedding").mkdir(parents=True)
    rows = np.repeat(meanings(), 2, axis=0)
    rows += np.random.default_rng(2).normal(scale=0.05, size=rows.shape).astype(np.float32)
    table = np.concatenate((np.zeros((1, DIM), np.float32), rows))
    save_file({"embedding.weight": table}, folder / "0_StaticEmbedding" / "model.safetensors")
    tokenizer().save(str(folder / "0_StaticEmbedding" / "tokenizer.json"))
    (folder / "modules.json").write_text("[]")
    return folder


@pytest.mark.parametrize("make", [model2vec, sentence_transformers])
def test_paraphrases_in_other_words_are_found_by_a_model_alone(
    make: Callable[[Path], Path], tmp_path: Path, curate: Callable[..., Finished]
) -> None:
    rng = random.Random(1)
    subjects = [[rng.randrange(PAIRS) for _ in range(30)] for _ in range(200)]
    texts = [" ".join(f"here{n}" for n in subject) for subject in subjects]
    texts += [" ".join(f"there{n}" for n in rng.sample(subject, 30)) for subject in subjects[:40]]
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": texts, "number": range(len(texts))}), tmp_path / "in" / "a.parquet")
    model = make(tmp_path / "model")
    kept = {}
    for name, given in (("words", ()), ("model", ("--model", model))):
        done = curate("semantic-dedup", tmp_path / "in", "--out", tmp_path / f"by-{name}", "--min-cosine", 0.95, *given)
        assert done.code == 0, done.err
        kept[name] = pq.read_table(tmp_path / f"by-{name}" / "documents").column("number").to_pylist()
    assert kept["words"] == list(range(240)) and kept["model"] == list(range(200))
    vectors = pa.ipc.open_file(next((tmp_path / "by-model" / "embeddings").iterdir())).read_all().column("vector")
    assert vectors.type == pa.list_(pa.int16(), DIM)


def test_a_text_is_the_mean_of_its_known_words_whatever_the_tokenizer_cuts(tmp_path: Path) -> None:
    opened = open_static(*files_of(str(model2vec(tmp_path / "m"))))
    assert shape_of(str(tmp_path / "m")) == (2 * PAIRS + 1, DIM) == opened.table.shape
    texts = pa.array(["here3 there9 strange here3 here4 here5 here6", "", "strange", "here1"])
    found = opened.vectors(texts, 4000, 8192).astype(float)
    wanted = (2 * meanings()[3] + meanings()[[9, 4, 5, 6]].sum(0)).astype(float)
    cosine = found[0] @ wanted / np.linalg.norm(found[0]) / np.linalg.norm(wanted)
    assert cosine > 0.9999 and abs(np.linalg.norm(found[0]) - 8192) < 4
    assert not found[1].any() and not found[2].any()
    assert (opened.vectors(texts, 1, 8192)[0] == opened.vectors(pa.array(["here3"]), 9, 8192)[0]).all()


def test_directions_follow_from_whole_numbers_of_any_size() -> None:
    rng = np.random.default_rng(3)
    sums = (rng.normal(size=(64, 256)) * 2.0 ** rng.integers(0, 50, (64, 1))).astype(np.int64)
    found = directions(sums, 8192)
    exact = sums / np.sqrt(np.square(sums.astype(float)).sum(1))[:, None] * 8192
    assert np.abs(found - exact).max() <= 1
    assert not directions(np.zeros((1, 8), np.int64), 8192).any()


def test_what_is_no_static_model_is_told(tmp_path: Path, curate: Callable[..., Finished]) -> None:
    def told(**tensors: Any) -> str:
        save_file(tensors, tmp_path / "m" / "model.safetensors")
        with pytest.raises(ConfigError) as error:
            shape_of(str(tmp_path / "m"))
            open_static.cache_clear()
            open_static(*files_of(str(tmp_path / "m")))
        return str(error.value)

    with pytest.raises(ConfigError, match=r"expected a folder with model\.safetensors and tokenizer\.json"):
        files_of(str(tmp_path))
    model2vec(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"no tensors")
    done = curate("semantic-dedup", tmp_path, "--out", tmp_path / "out", "--model", tmp_path / "m")
    assert done.code == 2 and "not a file of tensors" in done.err and "Traceback" not in done.err
    row = meanings()
    assert "model2vec distills a static model" in told(**{"encoder.layer.0.weight": row})
    assert f"has {2 * PAIRS + 1} tokens, and" in told(embeddings=row)
    assert "`mapping` names rows" in told(embeddings=row, mapping=np.full(2 * PAIRS + 1, PAIRS))
    assert "do not fit" in told(embeddings=row, weights=np.ones(3))
    assert "largest value is nan" in told(embeddings=np.full((900, 8), np.nan, np.float32))
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    assert "not a tokenizer" in told(embeddings=row)
    (tmp_path / "m" / "tokenizer.json").unlink()
    assert "there is no tokenizer.json" in told(embeddings=row)
