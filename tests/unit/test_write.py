"""Files are there whole or not at all, and their bytes follow from their rows alone."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.io.write import TEMPORARY, ShuffleFile, TableFile, committed, partition_of


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), committed(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


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
        file = TableFile(folder / f"{name}.parquet", folder)
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


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=300), st.sampled_from([4, 8, 64]))
@settings(max_examples=25, deadline=None)
def test_a_shuffle_file_holds_every_row_in_its_partition(
    tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], partitions: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    column = pa.array(keys, pa.binary(16))
    file = ShuffleFile(folder / "s.arrow", folder, partitions, "key")
    file.write(pa.RecordBatch.from_pydict({"key": column, "n": pa.array(range(len(keys)), pa.int64())}))
    if file.close() is None:
        assert not keys
        return
    reader = pa.ipc.open_file(folder / "s.arrow")
    seen = []
    for p, places in enumerate(file.places):
        for i in places:
            batch = reader.get_batch(i)
            assert set(partition_of(pa.chunked_array([batch.column("key")]), partitions)) == {p}
            seen += batch.column("n").to_pylist()
    assert sorted(seen) == list(range(len(keys)))


def test_partitions_of_numbers_follow_their_high_half() -> None:
    column = pa.chunked_array([pa.array([5 << 32, (5 << 32) + 1, 6 << 32], pa.uint64())])
    assert partition_of(column, 4).tolist() == [1, 1, 2]
