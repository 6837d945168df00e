from __future__ import annotations

import json

import pytest

from loadtest.batch_speed import BatchSpeed
from loadtest.comparison.bare_way import Way, ways
from loadtest.comparison.result import Comparison, Start, Window
from loadtest.intruders import Intrusion

QUIET = Intrusion({}, 0.01, 0.0)
DISTURBED = Intrusion({"make 17": 0.6}, 0.7, 0.0)


def window(rate: float, number: int, intrusion: Intrusion = QUIET, contestant: str = "one") -> Window:
    limit = BatchSpeed(rate=200.0, batch_ms=5.0, cpu_ms=9.0)
    return Window(
        contestant, 8, number, rate, 40.0, 60.0, {"503": 2}, {"edge": 2.0, "runner": 9.0}, 0.05, limit, intrusion
    )


@pytest.fixture
def comparison() -> Comparison:
    windows = [window(150, 0), window(170, 1), window(20, 2, DISTURBED), window(180, 0, contestant="two")]
    starts = [Start("one", 3.0, {"edge": 80.0, "runner": 300.0}), Start("two", 5.0, {"main": 250.0})]
    return Comparison({"machine": "a box"}, {"one": "as it comes"}, {"one": 1e-7}, windows, starts)


def test_the_table_has_medians_and_spreads(comparison: Comparison) -> None:
    text = comparison.markdown()
    assert "| one | 150 (20–170) | 0.75 (0.10–0.85) | 40.0 | 60.0 | 1.50 | 11.0 (edge 2.0, runner 9.0) | 6 |" in text
    assert "| bare engine | 200 (200–200) | 1 | 40.0 | – | – | 9.0 | – |" in text
    assert "| one | 3.0 (3.0–3.0) | 380 (edge 80, runner 300) | as it comes | 1e-07 |" in text


def test_who_disturbed_is_named(comparison: Comparison) -> None:
    assert "1 of 4 windows had other processes at work, the worst of them one, 8 clients: make 17 60%." in (
        comparison.markdown()
    )


def test_disturbed_windows_can_be_left_out(comparison: Comparison) -> None:
    quiet = comparison.quiet()
    assert [one.rate for one in quiet.windows] == [150, 170, 180]
    assert "| one | 160 (150–170) |" in quiet.markdown()


def test_all_figures_go_into_json(comparison: Comparison) -> None:
    document = json.loads(json.dumps(comparison.document()))
    assert document["windows"][2]["intrusion"]["named"] == {"make 17": 0.6}
    assert document["windows"][0]["bare"]["rate"] == 200


@pytest.mark.parametrize(
    ("callers", "streams", "expected"),
    [
        (1, 2, [Way(0, 1)]),
        (4, 1, [Way(0, 1), Way(0, 4)]),
        (8, 2, [Way(0, 1), Way(0, 4), Way(0, 8), Way(2, 1), Way(2, 4)]),
    ],
)
def test_layouts_hold_no_more_pictures_than_there_are_callers(callers: int, streams: int, expected: list[Way]) -> None:
    assert ways(callers, streams) == expected
