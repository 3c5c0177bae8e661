"""The hostile pages are what their names say: of the size asked for, and the same every time."""

import pytest

from torture import PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_size_asked_for_whatever_it_is(name: str) -> None:
    """Growth is judged by the time at n and at 2 n, so the pages must really be of n and of 2 n bytes."""
    for n in (20_000, 40_000, 400_000):
        assert len(PAGES[name](n)) == pytest.approx(n, rel=0.2)
    assert PAGES[name](20_000) == PAGES[name](20_000)
