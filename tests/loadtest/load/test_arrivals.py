from __future__ import annotations

from itertools import pairwise
from statistics import mean, pstdev

import pytest

from loadtest.load.arrivals import schedule


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_constant_ones_are_evenly_spaced_and_do_not_drift() -> None:
    times = list(schedule("constant", 30.0, 1000.0))
    assert len(times) == 30_000
    assert times[-1] == pytest.approx(999.983, abs=0.001)
    assert max(gaps(times)) == pytest.approx(1 / 30, rel=1e-6)


def test_constant_ones_of_several_processes_take_turns() -> None:
    parts = [list(schedule("constant", 30.0, 10.0, part=part, parts=3)) for part in range(3)]
    assert sorted(time for part in parts for time in part) == pytest.approx(list(schedule("constant", 30.0, 10.0)))


def test_poisson_ones_have_the_rate_that_was_asked_and_its_spread() -> None:
    times = list(schedule("poisson", 50.0, 400.0, seed="a"))
    assert len(times) == pytest.approx(20_000, rel=0.03)
    # The gaps of a Poisson process have a standard deviation that equals their mean.
    assert pstdev(gaps(times)) == pytest.approx(mean(gaps(times)), rel=0.05)
    assert times == sorted(times)
    assert times[-1] < 400


def test_poisson_ones_of_several_processes_add_up_and_differ() -> None:
    parts = [list(schedule("poisson", 50.0, 400.0, part=part, parts=4, seed="a")) for part in range(4)]
    assert sum(map(len, parts)) == pytest.approx(20_000, rel=0.03)
    together = sorted(time for part in parts for time in part)
    assert pstdev(gaps(together)) == pytest.approx(mean(gaps(together)), rel=0.05)


def test_a_seed_repeats_them() -> None:
    first, again, other = (list(schedule("poisson", 50.0, 4.0, seed=seed)) for seed in ("a", "a", "b"))
    assert first == again != other
