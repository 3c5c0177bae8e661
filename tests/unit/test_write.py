"""The bytes of tables follow from their rows alone, and shuffled rows are where the file says."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.io.store import TEMPORARY, LocalStore
from curate.io.write import MAX_OPEN_SOURCES, ShuffleFile, SourceFiles, TableFile, partition_of, places_of


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_bytes_do_not_depend_on_how_batches_arrive(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("w")
    total = sum(sizes)
    column = pa.array([f"row {i}" for i in range(total)])
    kinds = pa.array([f"kind {i % 3}" for i in range(total)]).dictionary_encode()
    whole = pa.RecordBatch.from_pydict({"text": column, "kind": kinds})
    digests = []
    for name, cuts in (("one", [total]), ("many", sizes)):
        file = TableFile(LocalStore(folder), f"{name}.parquet")
        at = 0
        for size in cuts:
            file.write(whole.slice(at, size))
            at += size
        written = file.close()
        digests.append(written.sha256 if written else None)
    assert digests[0] == digests[1]
    assert (digests[0] is None) == (total == 0)
    assert not list(folder.glob(f"{TEMPORARY}*"))
    if total:
        assert pq.read_table(folder / "many.parquet").num_rows == total


@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=300),
    st.sampled_from([4, 8, 64]),
    st.sampled_from([1, 1 << 20]),
)
@settings(max_examples=25, deadline=None)
def test_a_shuffle_file_holds_every_row_in_its_partition(
    tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], partitions: int, spill: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    column = pa.array(keys, pa.binary(16))
    file = ShuffleFile(LocalStore(folder), "s.arrow", partitions, "key", spill=spill)
    whole = pa.RecordBatch.from_pydict({"key": column, "n": pa.array(range(len(keys)), pa.int64())})
    for start in range(0, len(keys), 100):
        file.write(whole.slice(start, 100))
    if file.close() is None:
        assert not keys
        return
    reader = pa.ipc.open_file(folder / "s.arrow")
    seen = []
    for starts in places_of(reader, partitions, "s.arrow"):
        for p in range(partitions):
            for i in range(starts[p], starts[p + 1]):
                batch = reader.get_batch(i)
                assert set(partition_of(pa.chunked_array([batch.column("key")]), partitions)) == {p}
                seen += batch.column("n").to_pylist()
    assert sorted(seen) == list(range(len(keys)))


def test_partitions_of_numbers_follow_their_high_half() -> None:
    column = pa.chunked_array([pa.array([5 << 32, (5 << 32) + 1, 6 << 32], pa.uint64())])
    assert partition_of(column, 4).tolist() == [1, 1, 2]


def test_many_sources_open_few_files(tmp_path: Path) -> None:
    """The files of 200 sources are those that each would have got alone, and never more than a few are open."""
    store = LocalStore(tmp_path)

    class Counting(LocalStore):
        def create(self, rel: str) -> Any:
            target = super().create(rel)
            assert sum(not t.closed for t in targets) <= MAX_OPEN_SOURCES + 1
            targets.append(target)
            return target

    targets: list[Any] = []
    files = SourceFiles(Counting(tmp_path), Counting(tmp_path), "waiting.arrow", lambda s: f"many/{s}.arrow")
    batches = [(f"s{i % 200}", pa.RecordBatch.from_pydict({"n": list(range(i, i + 3000))})) for i in range(0, 1000)]
    for source, batch in batches:
        files.write(source, batch)
    found = dict(files.close())
    assert len(found) == 200 and store.stat("waiting.arrow") is None
    for source in ("s0", "s199"):
        alone = TableFile(store, f"alone/{source}.arrow", {"source": source})
        for name, batch in batches:
            if name == source:
                alone.write(batch)
        written = alone.close()
        assert written is not None and written.sha256 == found[source].sha256
