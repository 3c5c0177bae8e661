"""`train-tokenizer --base`: a vocabulary that grows, tokens of several words, and ids that stay."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
from conftest import Finished
from curate.stages.train_tokenizer import TrainTokenizer
from curate.tokenizer.model import END_OF_DOCUMENT, open_encoder, read_tokenizer

STRANGE = [
    "",
    " ",
    "unseen: ÿ 𝒳 한국어",
    f"a {END_OF_DOCUMENT} b",
    "1234567 bones\n\n and more  of the same\r\n",
    "as is",
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = random.Random(5)
    return [corpus.article(rng, 6) + " 12345 of the same, as well as 678." for _ in range(60)]


@pytest.fixture(scope="module")
def folder(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docs")
    pq.write_table(pa.table({"text": texts}), made / "a.parquet")
    return made


@pytest.fixture
def trained(folder: Path, tmp_path: Path, curate: Callable[..., Finished]) -> Callable[..., Path]:
    """tokenizer.json of a run with these options."""

    def run(name: str, *options: object) -> Path:
        done = curate("train-tokenizer", folder, "--out", tmp_path / name, *options)
        assert done.code == 0, done.err
        return tmp_path / name / "tokenizer.json"

    return run


def same_in_the_library(path: Path, values: list[str]) -> None:
    """Ids of a file are those that the `tokenizers` library gives, and decode to the text."""
    library, encoder = Tokenizer.from_file(str(path)), open_encoder(path)
    library.encode_special_tokens = True
    ours = pa.array(encoder.encode(pa.array(values, pa.large_string()))).to_pylist()
    assert ours == [one.ids for one in library.encode_batch(values, add_special_tokens=False)]
    assert (
        pa.array(encoder.decode(pa.array(ours, pa.large_list(pa.uint32())))).cast(pa.large_string()).to_pylist()
        == values
    )


def test_going_on_from_a_vocabulary_is_training_the_larger_one(trained: Callable[..., Path]) -> None:
    base = trained("base", "--vocab-size", 420, "--pattern", "gpt2")
    whole = json.loads(trained("whole", "--vocab-size", 500, "--pattern", "gpt2").read_text())
    assert json.loads(trained("more", "--vocab-size", 500, "--base", base).read_text()) == whole


def test_tokens_of_several_words_come_behind_those_of_words(trained: Callable[..., Path], texts: list[str]) -> None:
    base = trained("base", "--vocab-size", 420)
    ask = ("--vocab-size", 500, "--base", base, "--pattern", "superword", "--max-token-length", 24)
    path = trained("superwords", *ask)
    before, after = read_tokenizer(base), read_tokenizer(path)
    tokens = after.vocab.to_pylist()
    assert tokens[: len(before.vocab)] == before.vocab.to_pylist() and len(tokens) == 500
    new = tokens[len(before.vocab) :]
    assert any(b" " in token.strip() for token in new) and all(len(token) < 24 for token in new)
    assert not any(b" " in token.strip() for token in before.vocab.to_pylist()[1:])
    same_in_the_library(path, [*texts, *STRANGE])
    lengths = [sum(map(len, pa.array(open_encoder(one).encode(pa.array(texts))).to_pylist())) for one in (base, path)]
    assert lengths[1] < 0.9 * lengths[0]


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_ids_of_a_foreign_file_stay_special_and_added_ones_too(
    ignore_merges: bool, trained: Callable[..., Path], texts: list[str], tmp_path: Path
) -> None:
    """The shapes of GPT-NeoX and Llama 3: special tokens behind the merges, other added tokens between them."""
    library = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    split = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}{1,3}|\s+|[^\s\p{L}\p{N}]+"), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    library.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    )
    library.add_tokens([AddedToken("  ", normalized=False)])
    library.add_special_tokens([END_OF_DOCUMENT, "<|pad|>"])
    library.save(str(tmp_path / "foreign.json"))
    path = trained("more", "--vocab-size", 470, "--base", tmp_path / "foreign.json")
    before, after = (json.loads(one.read_text()) for one in (tmp_path / "foreign.json", path))
    assert after["added_tokens"] == before["added_tokens"]
    assert before["model"]["vocab"].items() <= after["model"]["vocab"].items()
    assert sorted(after["model"]["vocab"].values()) == list(range(470))
    assert after["model"]["merges"][: len(before["model"]["merges"])] == before["model"]["merges"]
    assert after["pre_tokenizer"] == before["pre_tokenizer"]
    same_in_the_library(path, [*texts, *STRANGE])


def test_what_the_base_decides_is_told(trained: Callable[..., Path]) -> None:
    base = trained("base", "--vocab-size", 400)
    wrong: dict[str, dict[str, Any]] = {
        "vocab_size 400: the base has 400 tokens already": {"vocab_size": 400},
        "the base decides that: leave out special_tokens": {"special_tokens": ["<s>"]},
        "the base decides that: leave out form": {"form": "byte_fallback"},
    }
    for message, options in wrong.items():
        with pytest.raises(ValueError, match=message):
            TrainTokenizer(**{"vocab_size": 500, "base": str(base), **options})
    fallback = trained("fallback", "--vocab-size", 500, "--form", "byte_fallback")
    with pytest.raises(ValueError, match="BPE model with byte level"):
        TrainTokenizer(vocab_size=900, base=str(fallback), pattern="gpt4")
