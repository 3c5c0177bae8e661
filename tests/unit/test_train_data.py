"""Shards are checked before they are used, packing loses no token, and a mixture means what it says."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import shards as made
from curate.errors import ConfigError, DataError
from curate.schema import doc_id
from train import packing
from train.config import load_settings, resolve
from train.loader import Loader
from train.loss import IGNORE
from train.mixture import load_mixture, longest_order, make_order, natural_mixture, steps_of
from train.order import Phase, RowOrder
from train.packing import documents_of, pack, read_batch
from train.shards import check_tokenizer, open_shards

T = 32
SOURCES = {"web": made.sentences(1, 25), "code": made.sentences(2, 11, longest=400)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made.write_run(tmp_path / "run", SOURCES, vocab_size=64)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_every_token_is_a_target_once_and_follows_what_stands_before_it(tmp_path: Path, dtype: str) -> None:
    run = made.write_run(tmp_path / "run", SOURCES, dtype=dtype)
    shards = open_shards(run / "tokens", verify=True)
    for name, documents in SOURCES.items():
        packed = pack(shards.sources[name], T, made.END)
        rows = np.arange(packed.rows)
        batch = read_batch([packed], np.zeros_like(rows), rows, shards.manifest)
        pairs = Counter()
        for row in range(packed.rows):
            for document in set(batch.documents[row][batch.targets[row] != IGNORE]):
                here = batch.documents[row] == document
                inputs, targets = batch.inputs[row][here], batch.targets[row][here]
                assert list(inputs[1:]) == list(targets[:-1])
                pairs.update(zip(inputs, targets, strict=True))
        wanted = Counter()
        for tokens in documents:
            wanted.update(zip([made.END, *tokens], [*tokens, made.END], strict=True))
        assert pairs == wanted


def test_documents_longer_than_a_row_are_split_and_rows_are_full(run: Path) -> None:
    source = open_shards(run / "tokens").sources["code"]
    packed = pack(source, T, made.END)
    assert int(source.lengths().max()) > 3 * T
    assert int(packed.length.max()) == T
    assert packed.length.sum() == source.lengths().sum()
    sums = np.add.reduceat(packed.length, packed.first[:-1])
    assert sums.max() <= T and np.sort(sums)[1:].mean() > 0.95 * T


def test_the_packer_is_best_fit() -> None:
    lengths = np.array([70, 1, 32, 20, 12, 5, 30], dtype=np.uint32)
    pieces = set(zip(*(part.tolist() for part in packing.pack_lengths(lengths, T)), strict=True))
    assert len({row for row, *_ in pieces}) == len({row for row, *_ in made.best_fit(lengths.tolist(), T)}) == 6
    assert {piece[1:] for piece in pieces} == {piece[1:] for piece in made.best_fit(lengths.tolist(), T)}


def test_a_packing_is_kept_until_the_shards_change(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "packing"
    first = pack(open_shards(run / "tokens").sources["web"], T, made.END, kept)
    assert pa.ipc.open_file(str(kept / f"web-{T}.arrow")).read_all().column_names == ["doc", "start", "length"]
    with monkeypatch.context() as patched:
        patched.delattr(packing, "pack_lengths")
        again = pack(open_shards(run / "tokens").sources["web"], T, made.END, kept)
    assert list(again.doc) == list(first.doc) and list(again.first) == list(first.first)
    # What earlier versions wrote is found again.
    mark = b"1:32:4c9a4ffa681a4973f385b5dca9d94c5b112a63baf3113f647bad04d734e5100a"
    assert pa.ipc.open_file(str(kept / f"web-{T}.arrow")).schema.metadata == {b"packing": mark}
    other = made.write_run(tmp_path / "other", {"web": made.sentences(9, 40)})
    changed = pack(open_shards(other / "tokens").sources["web"], T, made.END, kept)
    assert changed.length.sum() == changed.source.lengths().sum()


def test_the_name_of_a_source_is_no_path(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", {"web": SOURCES["web"]})
    manifest = json.loads((run / "tokens" / "manifest.json").read_text())
    name = "../../up/.."
    files = [{**file, "source": name} for file in manifest["files"]]
    made.edit_manifest(run, files=files, sources={name: manifest["sources"]["web"]})
    kept = tmp_path / "kept" / "packing"
    packed = pack(open_shards(run / "tokens").sources[name], T, made.END, kept)
    assert packed.length.sum() == packed.source.lengths().sum()
    assert [path.name for path in tmp_path.rglob("*-32.arrow")] == ["%2E%2E%2F%2E%2E%2Fup%2F%2E%2E-32.arrow"]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_of_any_number_read_the_rows_of_a_step_from_any_step_on(run: Path, world: int) -> None:
    shards = open_shards(run / "tokens")
    packed = [pack(source, T, made.END) for source in shards.sources.values()]
    order = RowOrder(
        3, {one.source.name: one.rows for one in packed}, [Phase("main", 800, {"web": 1.0, "code": 2.0}, {})]
    )
    plain = [read_batch(packed, *order.step(step, 8), shards.manifest) for step in range(100)]
    for start in (0, 37):
        loaders = [Loader(packed, order, shards.manifest, 8, range(start, 100), rank, world) for rank in range(world)]
        for step in range(start, 100):
            for rank, loader in enumerate(loaders):
                found = loader.read(step)
                for a, b in zip(found.batch, plain[step], strict=True):
                    assert np.array_equal(a, b[rank::world])
        for loader in loaders:
            loader.__exit__()
    with pytest.raises(ConfigError, match="batch_rows: 8 rows cannot be shared by 3 processes alike"):
        Loader(packed, order, shards.manifest, 8, range(3), 0, 3)


def test_the_documents_of_a_row_are_named(run: Path) -> None:
    shards = open_shards(run / "tokens")
    packed = [pack(source, T, made.END) for source in shards.sources.values()]  # code, web
    rows = np.array([0, 2, 1])
    found = documents_of(packed, np.array([1, 1, 0]), rows)
    texts = {doc_id(name, n): [*tokens, made.END] for name, some in SOURCES.items() for n, tokens in enumerate(some)}
    batch = read_batch(packed, np.array([1, 1, 0]), rows, shards.manifest)
    tokens = sum(len(texts[one]) for one in found)
    assert len(found) == len(set(found)) and tokens >= (batch.targets != IGNORE).sum()
    for row in range(3):
        piece = batch.targets[row][batch.documents[row] == 0].tolist()
        assert any(
            piece == text[at : at + len(piece)] for one in found for text in [texts[one]] for at in range(len(text))
        )


def damage(run: Path, how: str) -> None:
    path = sorted((run / "tokens" / "web").iterdir())[0]
    content = path.read_bytes()
    manifest = json.loads((run / "tokens" / "manifest.json").read_text())
    if how == "cut":
        path.write_bytes(content[:-100])
    elif how == "gone":
        path.unlink()
    elif how == "changed":
        place = (
            content.index(np.array(SOURCES["web"][0][:4], dtype="<u2").tobytes()) if len(SOURCES["web"][0]) > 3 else -1
        )
        path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    elif how == "not arrow":
        path.write_bytes(b"x" * len(content))
    elif how == "count":
        manifest["sources"]["web"]["tokens"] += 1
        made.edit_manifest(run, sources=manifest["sources"])
    elif how == "outside":
        manifest["files"][0]["path"] = "../../etc/passwd"
        made.edit_manifest(run, files=manifest["files"])


DAMAGES = {
    "cut": (False, r"web/.*\.arrow: size in bytes: \d+ expected, \d+ found; the shards were changed or cut short"),
    "gone": (False, r"web/.*\.arrow: no such file, but the manifest names it"),
    "changed": (True, r"web/.*\.arrow: sha256: \w{64} expected, \w{64} found"),
    "not arrow": (False, r"web/.*\.arrow: cannot be read as Arrow IPC"),
    "count": (False, r"manifest\.json: tokens of the source web: \d+ expected, \d+ found"),
    "outside": (False, r"manifest\.json: \.\./\.\./etc/passwd leads out of the folder"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_shards_that_differ_from_their_manifest_are_refused(run: Path, how: str) -> None:
    verify, message = DAMAGES[how]
    damage(run, how)
    with pytest.raises(DataError, match=message):
        open_shards(run / "tokens", verify)


MANIFESTS = {
    "dtype": (
        {"dtype": "uint32"},
        r"type of tokens: large_list<item: uint32> expected, large_list<item: uint16> found",
    ),
    "odd dtype": ({"dtype": "int8"}, r"dtype int8; expected uint16 or uint32"),
    "version": ({"version": 2}, r"version 2; this trainer reads version 1"),
    "lacking": ({"vocab_size": None}, r"not a manifest of token shards: vocab_size"),
    "no source": ({"sources": {"web": {}}}, r"is of a source that it does not list: code"),
}


@pytest.mark.parametrize("how", MANIFESTS)
def test_manifests_of_another_kind_are_refused(run: Path, how: str) -> None:
    changes, message = MANIFESTS[how]
    made.edit_manifest(run, **changes)
    with pytest.raises(DataError, match=message):
        open_shards(run / "tokens")


def test_shards_of_another_schema_are_refused(run: Path) -> None:
    manifest = json.loads((run / "tokens" / "manifest.json").read_text())
    path = run / "tokens" / manifest["files"][0]["path"]
    table = pa.ipc.open_file(path.read_bytes()).read_all().drop_columns(["doc_id"])
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    manifest["files"][0]["bytes"] = path.stat().st_size
    made.edit_manifest(run, files=manifest["files"])
    with pytest.raises(DataError, match=r"type of doc_id: fixed_size_binary\[16\] expected, no such column found"):
        open_shards(run / "tokens")


def test_what_is_no_run_or_has_another_tokenizer_is_said_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"manifest\.json: no such file; --data takes the folder of a run"):
        open_shards(tmp_path / "tokens")
    manifest = open_shards(run / "tokens").manifest
    assert check_tokenizer(run, manifest) == b"{}"
    (run / "tokenizer.json").write_bytes(b"[]")
    with pytest.raises(DataError, match=r"tokenizer\.json: sha256: "):
        check_tokenizer(run, manifest)


def test_documents_without_an_end_and_ids_outside_the_vocabulary_are_found(run: Path) -> None:
    made.edit_manifest(run, end_of_document=7)
    with pytest.raises(DataError, match=r"source web: document 0 does not end with the end-of-document id 7"):
        pack(open_shards(run / "tokens").sources["web"], T, 7)
    made.edit_manifest(run, end_of_document=0, vocab_size=5)
    shards = open_shards(run / "tokens")
    packed = pack(shards.sources["web"], T, made.END)
    with pytest.raises(DataError, match=r"a token id is \d+, but the vocabulary has 5 tokens"):
        read_batch([packed], np.array([0]), np.array([0]), shards.manifest)


MIXTURE = """\
version: 1
phases:
  - {name: main, tokens: 3000, weights: {web: 0.5, code: 0.5}, max_epochs: {code: 3}}
  - name: end
    tokens: 1000
    weights: {code: 1}
"""


def mixture_file(run: Path, text: str = MIXTURE) -> Path:
    path = run / "mixture.yaml"
    path.write_text(text)
    return path


def test_a_budget_stretches_the_phases_of_a_mixture_and_keeps_their_weights(run: Path) -> None:
    manifest = open_shards(run / "tokens").manifest
    mixture = load_mixture(mixture_file(run), manifest)
    settings = resolve(load_settings(None, size="tiny", sequence_length=T, batch_rows=5), "cpu", False)
    for tokens in (mixture.tokens, 160_000):
        order = make_order(settings, mixture, {"web": 100, "code": 100}, steps_of(tokens, settings))
        assert [phase.rows for phase in order.phases] == [round(tokens / T * 0.75), round(tokens / T * 0.25)]
    assert order.phases[0].max_epochs == {"code": 3.0, "web": 4.0}


def test_without_a_mixture_tokens_decide(run: Path) -> None:
    manifest = open_shards(run / "tokens").manifest
    phase = natural_mixture(manifest).phases[0]
    total = sum(counts["tokens"] for counts in manifest.sources.values())
    assert phase.tokens == total
    assert phase.weights["web"] == pytest.approx(manifest.sources["web"]["tokens"] / total)


def test_a_budget_of_time_ends_where_the_data_ends(run: Path) -> None:
    manifest = open_shards(run / "tokens").manifest
    settings = resolve(load_settings(None, size="tiny", sequence_length=T, batch_rows=4, max_epochs=2), "cpu", False)
    order, steps = longest_order(settings, natural_mixture(manifest), {"web": 60, "code": 60}, 10_000)
    assert not order.shortfalls() and order.total == steps * 4
    longer = make_order(settings, natural_mixture(manifest), {"web": 60, "code": 60}, steps + 2)
    assert longer.shortfalls()


WRONG: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown source": (
        lambda t: t.replace("web: 0.5", "wep: 0.5"),
        r'mixture.yaml:3: no tokens of a source wep; did you mean "web"',
    ),
    "negative": (
        lambda t: t.replace("code: 1}", "code: -1}"),
        r"mixture.yaml:6: the weight of code is -1.0; it must be at least 0",
    ),
    "nothing": (lambda t: t.replace("code: 1}", "code: 0}"), r"mixture.yaml:6: all weights of the phase end are 0"),
    "unknown key": (lambda t: t.replace("max_epochs", "max_epoch"), r'no such setting; did you mean "max_epochs"'),
    "unknown epochs": (
        lambda t: t.replace("{code: 3}", "{cod: 3}"),
        r'mixture.yaml:3: no tokens of a source cod; did you mean "code"',
    ),
    "tokenizer": (
        lambda t: t + "tokenizer_sha256: abc\n",
        r"mixture.yaml:7: the mixture was made for another tokenizer",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mixture_that_does_not_fit_the_shards_is_refused_with_its_line(run: Path, what: str) -> None:
    change, message = WRONG[what]
    with pytest.raises(ConfigError, match=message):
        load_mixture(mixture_file(run, change(MIXTURE)), open_shards(run / "tokens").manifest)
