"""train_tokenizer, tokenize and mix: sums that do not depend on how they were grouped, and what a run takes along."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corpus
from curate import schema
from curate.errors import ConfigError
from curate.stages import mix, tokenize, train_tokenizer
from curate.stages.protocol import SideFile
from curate.stages.tokenize import TOKENIZER, Tokenize
from curate.stages.train_tokenizer import TrainTokenizer
from curate.tokenizer import report
from curate.tokenizer.model import open_encoder


def batch(texts: list[str], sources: list[str]) -> pa.RecordBatch:
    ids = [i.to_bytes(1) + bytes(15) for i in range(len(texts))]
    columns = {"doc_id": pa.array(ids, schema.DOC_ID), "text": pa.array(texts), "source": pa.array(sources)}
    return schema.conform(pa.RecordBatch.from_pydict(columns), schema.DOCUMENT)


class Files:
    """Side files by channel: tables, or files with their lane and source."""

    memory = 10**9

    def __init__(self, tables: dict[str, pa.Table], files: dict[str, list[SideFile]]) -> None:
        self._tables, self._files = tables, files

    def table(self, name: str) -> pa.Table:
        return self._tables[name]

    def files(self, name: str) -> list[SideFile]:
        return self._files.get(name, [])

    def path(self, name: str) -> Path:
        return self._files[name][0].path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainTokenizer(vocab_size=300)
    emitted = train_tokenizer.count(batch(corpus.articles(4), ["web"] * 4), config).emits["counts"]
    counts = train_tokenizer.add_up(pa.Table.from_batches([emitted]))
    made = train_tokenizer.train(config, Files({"count.counts": counts}, {}))  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("tokenizer") / "mine.json"
    path.write_bytes(made["tokenizer"])
    return path


def side(path: Path) -> SideFile:
    return SideFile(path, str(path), 0, path.stat().st_size, "")


# -- combine ---------------------------------------------------------------------------------------------------

WORDS = ["low", "lower", "", "a b", "é", "中文", "a"]
SUMS: dict[str, tuple[Callable[[pa.Table], pa.Table], Callable[[list[str], list[str], Path], pa.RecordBatch]]] = {
    "counts": (
        train_tokenizer.add_up,
        lambda texts, sources, _: train_tokenizer.count(batch(texts, sources), TrainTokenizer()).emits["counts"],
    ),
    "counts by source": (
        train_tokenizer.add_up,
        lambda texts, sources, _: train_tokenizer.count(
            batch(texts, sources), TrainTokenizer(weights={"web": 2})
        ).emits["counts"],
    ),
    "fertility": (report.add_fertility, lambda *given: encoded(*given)["fertility"]),
    "used": (report.add_used, lambda *given: encoded(*given)["used"]),
}


def encoded(texts: list[str], sources: list[str], tokenizer: Path) -> Any:
    state = tokenize.State(Tokenize(), Files({}, {TOKENIZER: [side(tokenizer)]}))
    return tokenize.encode(batch(texts, sources), state).emits


@pytest.mark.parametrize("name", SUMS)
def test_combining_gives_the_same_rows_however_parts_were_grouped(name: str, tokenizer: Path) -> None:
    combine, emit = SUMS[name]
    rng = random.Random(1)
    parts = [
        pa.Table.from_batches([emit(rng.choices(WORDS, k=4), rng.choices(["web", "code", "ü"], k=4), tokenizer)])
        for _ in range(12)
    ]
    whole = combine(pa.concat_tables(parts)).combine_chunks()
    assert whole.num_rows > 2 and combine(whole).equals(whole)
    for _ in range(5):
        rng.shuffle(parts)
        cut = rng.randrange(1, 11)
        left, right = combine(pa.concat_tables(parts[:cut])), combine(pa.concat_tables(parts[cut:]))
        assert left.schema == parts[0].schema == whole.schema
        assert combine(pa.concat_tables([left, right])).combine_chunks().equals(whole)
        assert combine(pa.concat_tables([*parts[:cut], right])).combine_chunks().equals(whole)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["web", "code"])), min_size=1, max_size=8))
def test_counts_by_source_sum_to_the_counts(rows: list[tuple[str, str]]) -> None:
    texts, sources = [text for text, _ in rows], [source for _, source in rows]
    plain, apart = (
        pa.Table.from_batches([train_tokenizer.count(batch(texts, sources), config).emits["counts"]])
        for config in (TrainTokenizer(), TrainTokenizer(weights={"web": 1}))
    )
    assert train_tokenizer.add_up(apart.drop_columns(["source"])).equals(train_tokenizer.add_up(plain))


def test_counting_depends_on_how_text_is_split_alone() -> None:
    """So that another vocabulary size trains again without reading the documents again."""
    count = train_tokenizer.STAGE.phases[0]
    seen = train_tokenizer.STAGE.seen_by(count, TrainTokenizer(vocab_size=5000))
    assert seen == train_tokenizer.STAGE.seen_by(count, TrainTokenizer())
    assert not count.documents and train_tokenizer.STAGE.config.model_validate(seen) == TrainTokenizer()


# -- tokenize --------------------------------------------------------------------------------------------------


def shard(folder: Path, name: str, lane: str, source: str, texts: list[str], tokenizer: Path) -> SideFile:
    rows = encoded(texts, [source] * len(texts), tokenizer)["tokens"].drop_columns(["source"])
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(str(path), rows.schema) as writer:
        writer.write_batch(rows)
    return SideFile(path, name, rows.num_rows, path.stat().st_size, "ab", "t", lane, source)


def test_manifests_list_the_shards_of_each_lane_by_their_source(tmp_path: Path, tokenizer: Path) -> None:
    files = [
        shard(tmp_path, "tokens/web/t.arrow", "main", "web", ["one", "two"], tokenizer),
        shard(tmp_path, "tokens/a%2Fb/t.arrow", "main", "a/b", ["three"], tokenizer),
        shard(tmp_path, "heldout/tokens/web/t.arrow", "heldout", "web", ["four"], tokenizer),
    ]
    emitted = encoded(["one"], ["web"], tokenizer)
    tables = {f"apply.{name}": pa.Table.from_batches([emitted[name]]) for name in ("fertility", "used")}
    reads = Files(tables, {"apply.tokens": files, TOKENIZER: [side(tokenizer)]})
    made = tokenize.manifest(Tokenize(), reads)  # type: ignore[arg-type]
    assert set(made) == {"manifest", "heldout", "report"}
    main, heldout = json.loads(made["manifest"]), json.loads(made["heldout"])
    assert [(file["path"], file["source"], file["documents"]) for file in main["files"]] == [
        ("a%2Fb/t.arrow", "a/b", 1),
        ("web/t.arrow", "web", 2),
    ]
    assert main["sources"]["web"]["text_bytes"] == 6
    ids = pa.array(open_encoder(tokenizer).encode(pa.array(["one", "two"], pa.large_string()))).to_pylist()
    assert main["sources"]["web"]["tokens"] == sum(map(len, ids)) + 2
    assert [file["path"] for file in heldout["files"]] == ["web/t.arrow"]
    own = tokenize.manifest(Tokenize(tokenizer="mine.json"), reads)  # type: ignore[arg-type]
    assert own["tokenizer"] == tokenizer.read_bytes(), "a tokenizer of the user's goes along with the tokens"
    assert {channel.name: channel.path for channel in tokenize.STAGE.phases[1].emits}["tokenizer"] == "tokenizer.json"


# -- mix -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"web": -1}, "the weight of web is -1, below 0"), ({"web": 0}, "at least one must be more than 0")],
)
def test_weights_that_are_no_shares_are_refused_before_anything_runs(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mix.Mix(weights=weights)


def test_weights_of_a_source_without_tokens_are_a_configuration_error() -> None:
    manifest = {"tokenizer_sha256": "", "sources": {"web": {"tokens": 5}}}
    with pytest.raises(ConfigError, match='no tokens of a source "nosuch"; there are: web') as wrong:
        mix.mixture(mix.Mix(weights={"nosuch": 1}), manifest)
    assert wrong.value.exit_code == 2


def test_what_models_wrote_has_at_most_its_share() -> None:
    sources = {"book": {"tokens": 100}, "web": {"tokens": 300}, "tales": {"tokens": 400}, "talks": {"tokens": 200}}
    manifest = {"tokenizer_sha256": "", "sources": sources}
    capped = mix.Mix(synthetic=["tales", "talks"], max_synthetic=0.25, max_epochs=2)
    weights = mix.mixture(capped.model_copy(update={"tokens": 1000}), manifest)["phases"][0]["weights"]
    assert weights == pytest.approx({"book": 0.1875, "web": 0.5625, "tales": 0.25 * 2 / 3, "talks": 0.25 / 3})
    # Below the cap nothing changes.
    free = mix.mixture(capped.model_copy(update={"max_synthetic": 0.7, "tokens": 1000}), manifest)["phases"][0][
        "weights"
    ]
    assert free == pytest.approx({"book": 0.1, "web": 0.3, "tales": 0.4, "talks": 0.2})
    with pytest.raises(ConfigError, match="give 800 in 2 passes; ask for 1,066 tokens or fewer"):
        mix.mixture(capped.model_copy(update={"tokens": 1100}), manifest)
    with pytest.raises(ConfigError, match='there is no source "tale"; did you mean "tales"'):
        mix.mixture(mix.Mix(synthetic=["tale"]), manifest)
