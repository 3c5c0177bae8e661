"""A Unigram model is trained and applied by the `tokenizers` package: one file for the same counts, nothing lost."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import corpus
from curate.errors import ConfigError, DataError
from curate.stages import train_tokenizer
from curate.stages.train_tokenizer import TrainTokenizer
from curate.tokenizer import unigram
from curate.tokenizer.files import name_of_bytes
from curate.tokenizer.model import END_OF_DOCUMENT, open_encoder, read_tokenizer
from train.shards import check_tokenizer, open_shards

CORPUS = [
    *corpus.articles(40),
    "Быстрая лиса прыгает. الثعلب السريع يقفز. 敏捷的棕色狐狸跳过懒狗。 ภาษาไทย 😀😀 1234567",
]
TEXTS = [*CORPUS[-3:], "", " ", "  two  spaces ", "\x00\ufeff", "unseen: ÿ 𝒳 한국어", END_OF_DOCUMENT, "x" * 5000]


class Reads:
    """Counted pieces, as the train phase reads them."""

    def __init__(self, values: list[str], config: TrainTokenizer) -> None:
        columns = {"text": pa.array(values, pa.large_string()), "source": pa.array(["web"] * len(values))}
        counted = train_tokenizer.count(pa.RecordBatch.from_pydict(columns), config).emits["counts"]
        self._table = pa.Table.from_batches([counted])

    def table(self, name: str) -> pa.Table:
        return self._table


def train(values: list[str], **options: Any) -> dict[str, Any]:
    config = TrainTokenizer(**{"model": "unigram", "vocab_size": 360, **options})
    return dict(train_tokenizer.train(config, Reads(values, config)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unigram") / "tokenizer.json"
    path.write_bytes(train(CORPUS)["tokenizer"])
    return path


def column(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


# -- training --------------------------------------------------------------------------------------------------


def test_the_same_counts_give_the_same_file(file: Path) -> None:
    # The library's hash tables are seeded anew for every training, in one process too.
    for _ in range(3):
        assert train(CORPUS)["tokenizer"] == file.read_bytes()
    assert train(CORPUS, weights={"web": 3})["tokenizer"] == train(CORPUS * 3)["tokenizer"]


def test_the_vocabulary_holds_special_tokens_bytes_and_pieces_of_the_text(file: Path) -> None:
    made = json.loads(file.read_bytes())
    names = [name for name, _ in made["model"]["vocab"]]
    assert len(names) == len(set(names)) == 360
    assert names[0] == END_OF_DOCUMENT and sum(len(name) == 1 for name in names) == 256
    written = "\n".join(map(name_of_bytes, (text.encode() for text in CORPUS)))
    assert all(name in written for name in names[1:] if len(name) > 1), "pieces are spans of the text"
    scores = [score for _, score in made["model"]["vocab"][1:]]
    assert scores == sorted(scores, reverse=True) and max(scores) < 0


def test_what_a_unigram_has_not_is_refused() -> None:
    for wrong in ({"form": "byte_fallback"}, {"min_frequency": 2}, {"alphabet": "ab"}, {"limit_alphabet": 5}):
        with pytest.raises(ValueError, match=f"leave out {next(iter(wrong))}"):
            TrainTokenizer(model="unigram", **wrong)
    with pytest.raises(ConfigError, match="2 special tokens and 256 bytes need at least 258"):
        train(CORPUS, vocab_size=257, special_tokens=[END_OF_DOCUMENT, "<pad>"])


@pytest.mark.parametrize("values", [["aaaa"], ["a"], ["one text of few words"], ["é" * 3000 + " x"]])
def test_a_text_too_small_for_the_vocabulary_gives_what_there_is(tmp_path: Path, values: list[str]) -> None:
    made = train(values, vocab_size=5000)
    assert b"the text has no more pieces" in made["notes"]
    (tmp_path / "t.json").write_bytes(made["tokenizer"])
    encoder = open_encoder(tmp_path / "t.json")
    assert 257 <= encoder.vocab_size < 5000
    assert encoder.decode(encoder.encode(column(TEXTS))).to_pylist() == [text.encode() for text in TEXTS]


def test_many_occurrences_are_scaled_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "MAX_OCCURRENCES", 2000)
    made = train(CORPUS)
    assert b"scaled from" in made["notes"] and b"to 2,000 occurrences" in made["notes"]
    assert len(json.loads(made["tokenizer"])["model"]["vocab"]) > 257


def test_pieces_without_end_are_left_out_and_told() -> None:
    made = train([*CORPUS, "x" * 5000])
    assert made["notes"] == b"train_tokenizer: 1 pieces longer than 4,096 bytes were left out"


# -- encoding --------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=40), st.sampled_from(TEXTS)), max_size=5))
def test_ids_are_the_librarys_and_decode_to_the_text(file: Path, values: list[str]) -> None:
    encoder, expected = open_encoder(file), Tokenizer.from_file(str(file))
    expected.encode_special_tokens = True
    ids = encoder.encode(column(values), end_of_document=0)
    assert ids.to_pylist() == [expected.encode(value, add_special_tokens=False).ids + [0] for value in values]
    assert all(0 not in row[:-1] for row in ids.to_pylist()), "text never becomes a special token"
    assert encoder.decode(encoder.encode(column(values))).to_pylist() == [value.encode() for value in values]


def test_bad_rows_are_named(file: Path) -> None:
    encoder = open_encoder(file)
    with pytest.raises(ValueError, match=r"row 1: token id 360 at position 2 .* of 360 tokens"):
        encoder.decode(pa.array([[1], [1, 2, 360]], pa.large_list(pa.uint32())))
    with pytest.raises(ValueError, match="end_of_document 360 is outside the vocabulary"):
        encoder.encode(column(["a"]), end_of_document=360)
    with pytest.raises(ValueError, match="row 1: invalid UTF-8 at byte 0"):
        encoder.encode(pa.array([b"ok", b"\xff"], pa.large_binary()))
    with pytest.raises(ValueError, match="row 0: is null"):
        encoder.encode(column([None]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.update(pre_tokenizer={"type": "Metaspace"}), "Unigram without ByteLevel"),
        (lambda f: f.update(normalizer={"type": "NFKC"}), "Unigram without ByteLevel"),
        (lambda f: f["model"]["vocab"].remove(next(e for e in f["model"]["vocab"] if e[0] == "Ġ")), "the byte 0x20"),
        (lambda f: f["model"].pop("vocab"), "missing"),
    ],
)
def test_unigrams_that_lose_text_are_refused(file: Path, tmp_path: Path, change: Any, reason: str) -> None:
    other = json.loads(file.read_bytes())
    change(other)
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match=reason):
        read_tokenizer(tmp_path / "other.json")


# -- without the package, and in a run -------------------------------------------------------------------------


def test_the_extra_is_named_where_the_package_is_absent(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    monkeypatch.setattr(train_tokenizer, "find_spec", lambda name: None)
    extra = r"needs the `tokenizers` package; install it with: pip install 'curate-train\[unigram\]'"
    with pytest.raises(ValueError, match=extra):
        TrainTokenizer(model="unigram")
    with pytest.raises(ConfigError, match=extra):
        open_encoder(file)
    assert TrainTokenizer().model == "bpe"


def test_a_run_trains_it_and_tokenizes_with_it(tmp_path: Path, curate: Any) -> None:
    texts = corpus.articles(60)
    corpus.write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    (tmp_path / "r.yaml").write_text(
        f"version: 1\ninputs: [{{path: {tmp_path}/in.jsonl, source: web}}]\nsteps:\n"
        "  - train_tokenizer: {model: unigram, vocab_size: 360}\n  - tokenize\n"
    )
    done = curate("run", tmp_path / "r.yaml", "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert "tokenizers" in (tmp_path / "out/run.yaml").read_text()
    (shard,) = (tmp_path / "out/tokens/web").glob("*.arrow")
    with pa.memory_map(str(shard)) as handle:
        rows = pa.ipc.open_file(handle).read_all().combine_chunks()
    encoder = open_encoder(tmp_path / "out/tokenizer.json")
    decoded = encoder.decode(rows.column("tokens").combine_chunks()).to_pylist()
    (documents,) = (tmp_path / "out/documents").glob("*.parquet")
    text_of = {row["doc_id"]: row["text"] for row in pq.read_table(documents).to_pylist()}
    expected = [text_of[doc_id] + END_OF_DOCUMENT for doc_id in rows.column("doc_id").to_pylist()]
    assert [text.decode() for text in decoded] == expected
    report = json.loads((tmp_path / "out/tokenizer/report.json").read_bytes())
    assert report["vocab_size"] == 360 and report["tokens_counted"] > 1000
    # A tokenizer of the user's goes along with the tokens, so that the trainer finds it.
    mine = shutil.copy(tmp_path / "out/tokenizer.json", tmp_path / "mine.json")
    done = curate("tokenize", tmp_path / "in.jsonl", "--tokenizer", mine, "--out", tmp_path / "own")
    assert done.code == 0, done.err
    assert (tmp_path / "own/tokenizer.json").read_bytes() == Path(mine).read_bytes()
    check_tokenizer(tmp_path / "own", open_shards(tmp_path / "own/tokens", verify=True).manifest)
