from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from loadtest.load.ramp import RampSearch


def run(search: RampSearch, holds: Callable[[float], bool]) -> list[float]:
    """Answer the search until it is over; return the rates it asked."""
    asked: list[float] = []
    while search.rate is not None:
        asked.append(search.rate)
        search.record(holds(search.rate))
        assert len(asked) < 100
    return asked


@pytest.mark.parametrize("knee", [7.0, 19.9, 20.1, 143.0, 2500.0])
def test_finds_the_highest_rate_that_holds(knee: float) -> None:
    search = RampSearch(20.0)
    asked = run(search, lambda rate: rate <= knee)
    assert knee / 1.05 <= search.found <= knee
    assert max(asked) <= max(20.0, 1.5 * knee)


def test_one_hiccup_does_not_end_it() -> None:
    chance = random.Random(1)
    for _ in range(50):
        hiccup = chance.randrange(8)
        search = RampSearch(20.0)
        counted = iter(range(100))
        run(search, lambda rate, counted=counted, hiccup=hiccup: next(counted) != hiccup and rate <= 143.0)  # type: ignore[misc]
        assert 143.0 / 1.05 <= search.found <= 143.0


def test_gives_up_where_nothing_holds() -> None:
    search = RampSearch(20.0)
    asked = run(search, lambda rate: False)
    assert search.found == 0
    assert min(asked) >= 2.0
    with pytest.raises(ValueError, match="over"):
        search.record(True)
