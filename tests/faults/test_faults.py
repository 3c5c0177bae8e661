"""A disturbed run that is run to its end equals an undisturbed one: a short selection of seeds, or all of them.

A seed decides everything but the moments of what is timed by the clock. `make test-faults` takes every kind three
times, `make test-faults SEEDS=37` runs one seed, `SEEDS=147:1000` others. A failure tells its story and its seed.
"""

import os
import random
from pathlib import Path

import pytest

from faults.case import Calms, Case
from faults.scenarios import TURNS, kind_of

SHORT = (4, 12, 17, 24, 27, 39, 41)


def seeds() -> list[int]:
    given = os.environ.get("SEEDS") or f"0:{3 * len(TURNS)}"
    first, colon, last = given.partition(":")
    return list(range(int(first), int(last) if colon else int(first) + 1))


@pytest.fixture(scope="session")
def calms(tmp_path_factory: pytest.TempPathFactory) -> Calms:
    return Calms(tmp_path_factory.mktemp("calm"))


def disturb(seed: int, folder: Path, calms: Calms) -> None:
    kind = kind_of(seed)
    case = Case(folder, calms, random.Random(seed), kind.of)
    try:
        kind.happen(case)
    except BaseException as error:
        told = "\n  ".join(case.story)
        error.add_note(f"seed {seed}: {kind.name}; alone: make test-faults SEEDS={seed}\n  {told}\n  folder: {folder}")
        raise


@pytest.mark.parametrize("seed", SHORT)
def test_a_disturbed_run_ends_as_an_undisturbed_one(seed: int, tmp_path: Path, calms: Calms) -> None:
    disturb(seed, tmp_path, calms)


@pytest.mark.faults
@pytest.mark.parametrize("seed", seeds())
def test_every_fault(seed: int, tmp_path: Path, calms: Calms) -> None:
    disturb(seed, tmp_path, calms)
