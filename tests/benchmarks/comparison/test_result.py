from __future__ import annotations

import json

import pytest

from benchmarks.comparison.bare_layout import Layout, layouts
from benchmarks.comparison.result import Comparison, Start, Window
from benchmarks.measuring.batch_speed import BatchSpeed
from benchmarks.measuring.interference import Interference

QUIET = Interference({}, 0.01, 0.0)
DISTURBED = Interference({"make 17": 0.6}, 0.7, 0.0)


def window(rate: float, number: int, interference: Interference = QUIET, competitor: str = "one") -> Window:
    limit = BatchSpeed(rate=200.0, batch_ms=5.0, cpu_ms=9.0)
    return Window(
        competitor, 8, number, rate, 40.0, 60.0, {"503": 2}, {"edge": 2.0, "runner": 9.0}, 0.05, limit, interference
    )


@pytest.fixture
def comparison() -> Comparison:
    windows = [window(150, 0), window(170, 1), window(20, 2, DISTURBED), window(180, 0, competitor="two")]
    starts = [Start("one", 3.0, {"edge": 80.0, "runner": 300.0}), Start("two", 5.0, {"main": 250.0})]
    return Comparison({"machine": "a box"}, {"one": "as it comes"}, {"one": 1e-7}, windows, starts)


def test_the_table_has_medians_and_spreads(comparison: Comparison) -> None:
    text = comparison.markdown()
    assert "| one | 150 (20–170) | 0.75 (0.10–0.85) | 40.0 | 60.0 | 1.50 | 11.0 (edge 2.0, runner 9.0) | 6 |" in text
    assert "| bare engine | 200 (200–200) | 1 | 40.0 | – | – | 9.0 | – |" in text
    assert "| one | 3.0 (3.0–3.0) | 380 (edge 80, runner 300) | as it comes | 1e-07 |" in text


def test_who_disturbed_is_named(comparison: Comparison) -> None:
    assert "1 of 4 windows had interference, the worst of them one, 8 clients: make 17 60%." in (comparison.markdown())


def test_disturbed_windows_can_be_left_out(comparison: Comparison) -> None:
    quiet = comparison.quiet()
    assert [one.rate for one in quiet.windows] == [150, 170, 180]
    assert "| one | 160 (150–170) |" in quiet.markdown()


def test_all_figures_go_into_json(comparison: Comparison) -> None:
    document = json.loads(json.dumps(comparison.document()))
    assert document["windows"][2]["interference"]["named"] == {"make 17": 0.6}
    assert document["windows"][0]["bare"]["rate"] == 200


@pytest.mark.parametrize(
    ("clients", "streams", "expected"),
    [
        (1, 2, [Layout(0, 1)]),
        (4, 1, [Layout(0, 1), Layout(0, 4)]),
        (8, 2, [Layout(0, 1), Layout(0, 4), Layout(0, 8), Layout(2, 1), Layout(2, 4)]),
    ],
)
def test_layouts_hold_no_more_images_than_there_are_clients(clients: int, streams: int, expected: list[Layout]) -> None:
    assert layouts(clients, streams) == expected
