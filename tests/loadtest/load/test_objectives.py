from __future__ import annotations

import math
from pathlib import Path

import pytest

from loadtest.load.objectives import Measured, Objectives, ObjectivesError, judge, read_objectives
from loadtest.load.scenarios import SCENARIOS
from loadtest.load.stats import RequestStats


def measured(**changes: float) -> Measured:
    entry = RequestStats(good=98, refused=1, failed=1, images=98, images_meanwhile=98)
    for place in range(98):
        entry.latency.add(10.0 if place < 90 else 100.0)
    seen = Measured.of(entry, 2.0)
    return Measured(**{**vars(seen), **changes})  # type: ignore[arg-type]


def test_the_file_that_is_shipped_has_objectives_of_every_scenario() -> None:
    shipped = read_objectives(Path("loadtest/objectives.toml"))
    assert set(shipped) == set(SCENARIOS)
    assert shipped["single"].max_p99_ms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[singel]\n", "[singel] is no scenario; there are single, "),
        ("[single]\nmax_p98_ms = 3\n", "[single] max_p98_ms is no objective; there are min_images_per_second, "),
        ("[single]\nmax_p99_ms = 0\n", "[single] max_p99_ms: Input should be greater than 0"),
        ("[single]\nmax_p99_ms = inf\n", "[single] max_p99_ms: Input should be a finite number"),
        ("[single]\nmax_error_share = 2\n", "[single] max_error_share: Input should be less than or equal to 1"),
        ("[single]\nmax_p50_ms = 'soon'\n", "[single] max_p50_ms: Input should be a valid number"),
        ("single = 3\n", "[single] has no objective"),
        ("[single\n", "Expected ']'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ObjectivesError) as caught:
        read_objectives(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ObjectivesError, match=r"none\.toml: No such file"):
        read_objectives(tmp_path / "none.toml")


def test_each_objective_is_judged_by_what_was_seen() -> None:
    objectives = Objectives(
        min_images_per_second=49, max_p50_ms=11, max_p99_ms=99, max_error_share=0.02, max_failed_share=0.005
    )
    verdicts = judge(objectives, measured())
    assert [(one.objective, one.met) for one in verdicts] == [
        ("images a second", True),
        ("p50, ms", True),
        ("p99, ms", False),
        ("share of errors", True),
        ("share of failures", False),
    ]
    assert verdicts[0].measured == 49
    assert verdicts[2].measured == pytest.approx(100, rel=0.01)


def test_what_is_left_out_is_not_judged() -> None:
    assert judge(Objectives(), measured()) == []


def test_nothing_measured_meets_nothing() -> None:
    objectives = Objectives(min_images_per_second=1, max_p50_ms=1e9, max_p99_ms=1e9, max_error_share=0.5)
    assert not any(one.met for one in judge(objectives, Measured.of(RequestStats(), 0.0)))


def test_drift_is_the_last_part_by_the_first() -> None:
    objectives = Objectives(max_p50_drift=1.5, max_p99_drift=1.5)
    first, last = measured(p50_ms=10.0, p99_ms=100.0), measured(p50_ms=14.0, p99_ms=200.0)
    assert [(one.measured, one.met) for one in judge(objectives, measured(), (first, last))] == [
        (1.4, True),
        (2, False),
    ]
    silent = measured(p50_ms=math.nan, p99_ms=math.nan)
    assert not any(one.met for one in judge(objectives, measured(), (first, silent)))
