"""The order of rows is a pure function of (seed, phases, row number)."""

import random
import time
from collections import Counter

import numpy as np
import pytest

from curate.errors import ConfigError
from train.mixture import check_order
from train.order import BLOCK, CYCLE, Phase, RowOrder, apportion, permute

ROWS = {"web": 700, "code": 90, "book": 333}


def row_order(seed: int = 1, epochs: dict[str, float] | None = None) -> RowOrder:
    first = Phase("main", 3_000, {"web": 0.7, "code": 0.2, "book": 0.1}, {})
    return RowOrder(seed, ROWS, [first, Phase("anneal", 1_111, {"code": 1.0, "book": 3.0}, epochs or {})])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000, 1_023, 65_537])
def test_a_permutation_meets_every_row_once(size: int) -> None:
    image = permute(np.arange(size), size, np.uint64(99))
    assert sorted(image) == list(range(size))
    if size > 60:
        assert np.mean(image == np.arange(size)) < 0.1
        assert abs(np.corrcoef(image, np.arange(size))[0, 1]) < 0.3


def test_seats_go_to_the_largest_remainders() -> None:
    assert list(apportion(10, np.array([0.47, 0.16, 0.158, 0.12, 0.061, 0.031]))) == [5, 2, 1, 1, 1, 0]
    assert apportion(512, np.array([1.0, 1.0, 1.0])).sum() == 512


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_together_read_the_same_rows_whatever_the_world_size(world: int) -> None:
    batch, order = 16, row_order()
    sources, rows = order.take(0, 50 * batch)
    for step in range(50):
        shares = [order.step(step, batch, rank, world) for rank in range(world)]
        here = slice(step * batch, (step + 1) * batch)
        for rank, (share_sources, share_rows) in enumerate(shares):
            assert list(share_sources) == list(sources[here][rank::world])
            assert list(share_rows) == list(rows[here][rank::world])


def test_the_order_may_be_entered_anywhere() -> None:
    sources, rows = row_order().take(0, 4_111)
    rng = random.Random(3)
    for _ in range(40):
        start = rng.randrange(4_110)
        stop = rng.randrange(start + 1, 4_112)
        some_sources, some_rows = row_order().take(start, stop)  # a new order: nothing is remembered
        assert list(some_sources) == list(sources[start:stop])
        assert list(some_rows) == list(rows[start:stop])


def test_every_epoch_of_a_source_reads_each_row_once_in_another_order() -> None:
    order = row_order()
    sources, rows = order.take(0, order.total)
    for number, name in enumerate(order.names):
        drawn, size = rows[sources == number], ROWS[name]
        for epoch in range(len(drawn) // size):
            assert sorted(drawn[epoch * size : (epoch + 1) * size]) == list(range(size))
        if len(drawn) >= 2 * size:
            assert list(drawn[:size]) != list(drawn[size : 2 * size])


def test_every_stretch_holds_the_weights() -> None:
    weights = {"web": 0.6, "code": 0.3, "book": 0.0999, "rare": 0.0001}
    order = RowOrder(1, {name: 10_000 for name in weights}, [Phase("main", 2 * BLOCK * CYCLE + 100, weights, {})])
    sources, _ = order.take(0, order.total)
    for stop in (64, 1_000, 5_000, len(sources)):
        drawn = Counter(order.names[source] for source in sources[:stop])
        for name, weight in weights.items():
            assert abs(drawn[name] - weight * stop) <= 3, (stop, name)
    assert drawn["rare"] > 0


def test_phases_follow_each_other_and_go_on_where_a_source_stopped() -> None:
    order = row_order()
    sources, rows = order.take(0, order.total)
    web, code = order.names.index("web"), order.names.index("code")
    assert web not in sources[3_000:]
    assert abs(int((sources[3_000:] == code).sum()) - 1_111 / 4) <= 2
    drawn = rows[sources == code]  # 600 rows of main, then the anneal: epochs run through
    assert sorted(drawn[540:630]) == list(range(90))


def test_seed_and_phases_decide_the_order_and_the_digest() -> None:
    assert list(row_order(1).take(0, 99)[1]) == list(row_order(1).take(0, 99)[1]) != list(row_order(2).take(0, 99)[1])
    assert row_order(1).digest() != row_order(2).digest()
    # Checkpoints of earlier versions hold it.
    assert row_order(1).digest() == "ab569a2a0f0edac09bfc5dee1d6a3e351df5c32953ebe8a83d72da7c59426801"


def test_a_source_that_runs_out_is_named_with_what_is_missing() -> None:
    with pytest.raises(
        ConfigError, match=r"code: 224,\d{3} tokens needed by the end of the phase anneal, 23,040 there"
    ) as e:
        check_order(row_order(epochs={"code": 4, "book": 9}), 256)
    assert "with at most 4 epochs 132,608 are missing" in str(e.value)
    assert "book" not in str(e.value)
    check_order(row_order(epochs={"code": 9.74}), 256)


def test_fifty_thousand_rows_a_second_from_a_cold_start_far_into_a_run() -> None:
    rows = {f"source{n}": 1_000_000 + n for n in range(5)}
    begin = time.perf_counter()
    order = RowOrder(1, rows, [Phase("main", 10**9, {name: 0.2 for name in rows}, {})])
    order.take(987_654_321, 987_654_321 + 20_000)
    assert 20_000 / (time.perf_counter() - begin) > 50_000
