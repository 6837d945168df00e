from __future__ import annotations

import math

import pytest

from loadtest.measurements.autoscaling import (
    ASSUMED_S,
    MAX_REPLICAS,
    MIN_REPLICAS,
    MODELS,
    Autoscaler,
    Pod,
    desired,
    main,
    simulate,
)
from tests.server import ROOT


@pytest.mark.parametrize(
    ("current", "values", "wanted"),
    [
        (2, [1.0, 1.0], 2),
        (2, [1.09, 1.09], 2),  # Within the tolerance.
        (2, [1.2, 1.2], 3),
        (4, [0.5, 0.5, 0.5, 0.5], 2),
        (4, [0.0] * 4, 0),
        (3, [3.0, 3.0, 3.0], 9),
        (4, [4.0, 4.0, None, None], 8),  # New pods count as idle when more are wanted,
        (4, [1.5, 1.5, None, None], 4),  # which may be enough of them,
        (4, [0.2, 0.2, None, None], 3),  # and as just right when fewer are.
        (2, [None, None], 2),
    ],
)
def test_desired_is_the_formula_of_the_autoscaler(current: int, values: list[float | None], wanted: int) -> None:
    assert desired(current, values, target=1.0) == wanted


def loaded(number: int, queue: float) -> list[Pod]:
    return [Pod(-math.inf, seen_queue=queue, served=[0.0, 0.0, 0.0]) for _ in range(number)]


def test_more_come_at_once_but_not_more_than_twice_as_many() -> None:
    scaler = Autoscaler(["backlog"])
    assert scaler.replicas(0.0, loaded(4, queue=100.0), speed=10.0) == 8
    assert scaler.replicas(15.0, loaded(8, queue=100.0), speed=10.0) == 8
    assert scaler.replicas(45.0, loaded(8, queue=100.0), speed=10.0) == 16
    assert scaler.replicas(90.0, loaded(16, queue=100.0), speed=10.0) == MAX_REPLICAS


def test_fewer_come_only_after_five_minutes_and_a_fifth_a_minute() -> None:
    scaler = Autoscaler(["backlog"])
    assert scaler.replicas(0.0, loaded(10, queue=2.5), speed=10.0) == 10
    assert scaler.replicas(15.0, loaded(10, queue=0.0), speed=10.0) == 10
    assert scaler.replicas(299.0, loaded(10, queue=0.0), speed=10.0) == 10
    assert scaler.replicas(301.0, loaded(10, queue=0.0), speed=10.0) == 8
    assert scaler.replicas(316.0, loaded(8, queue=0.0), speed=10.0) == 8
    assert scaler.replicas(376.0, loaded(8, queue=0.0), speed=10.0) == 6
    assert scaler.turns == 0


def test_nothing_happens_where_nothing_changes() -> None:
    seen = simulate(100.0, 10.0, ("load", "backlog"), before=100.0, after=100.0)
    assert (seen.most, seen.turns, seen.worst_s, seen.refused) == (MIN_REPLICAS, 0, 0.0, 0.0)


def test_what_was_concluded_holds() -> None:
    """Of docs/autoscaling.md: each signal alone is worse, and what a start costs is paid by those who are refused."""
    speed, start_s = MODELS["71 × 71"].speed, ASSUMED_S + MODELS["71 × 71"].start_s
    backlog, load, both = (
        simulate(speed, start_s, signals, before=speed, after=4 * speed)
        for signals in (("backlog",), ("load",), ("load", "backlog"))
    )
    assert backlog.turns > 3
    assert both.turns <= 1
    assert both.enough_s < load.enough_s
    assert both.refused < load.refused
    slow = simulate(speed, start_s + 50, ("load", "backlog"), before=speed, after=4 * speed)
    assert slow.refused > both.refused
    assert slow.enough_s == pytest.approx(both.enough_s + 50, abs=1)


def test_the_tables_are_those_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    tables = capsys.readouterr().out.strip()
    page = (ROOT / "docs" / "autoscaling.md").read_text()
    assert all(table in page for table in tables.split("\n\n")), tables


def test_the_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--factor", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("| load and backlog |") == 6
    assert "35 → 70 images/s" in said
