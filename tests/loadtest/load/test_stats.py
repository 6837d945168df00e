from __future__ import annotations

import json
import math
import random

import pytest

from loadtest.load.histogram import Histogram
from loadtest.load.stats import LoadStats


def test_percentiles_are_those_of_the_values_to_within_a_per_cent() -> None:
    chance = random.Random(1)
    values = sorted(chance.lognormvariate(3, 1) for _ in range(10_000))
    one, other = Histogram(), Histogram()
    for place, value in enumerate(values):
        (one if place % 3 else other).add(value)
    one.merge(other)
    assert len(one) == 10_000
    assert one.percentile(0.5) == pytest.approx(values[4999], rel=0.01)
    assert one.percentile(0.99) == pytest.approx(values[9899], rel=0.01)
    assert one.percentile(1.0) == pytest.approx(values[-1], rel=0.01)


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(Histogram().percentile(0.5))


def test_stats_of_several_processes_add_up_after_a_journey() -> None:
    total = LoadStats()
    for latency in (10.0, 1000.0):
        stats = LoadStats()
        for name in ("single", "photo"):
            stats.of(1, name).count("good")
            stats.of(1, name).latency.add(latency)
        stats.of(2, "single").count("refused")
        stats.at(17.5).count("good")
        stats.error("429 full")
        stats.versions["3"] += 2
        stats.cpu_s = 0.5
        # A message keeps the numbers that keys are.
        wire = stats.to_wire()
        assert json.loads(json.dumps(wire))
        total.merge(LoadStats.from_wire(wire))
    assert total.of(1, "photo").good == 2
    assert total.of(1, "photo").latency.percentile(1.0) == pytest.approx(1000, rel=0.01)
    assert (total.of(2, "single").refused, total.at(17.9).good) == (2, 2)
    assert (total.errors["429 full"], total.versions["3"], total.cpu_s) == (2, 4, 1.0)


def test_errors_without_end_are_counted_as_other() -> None:
    stats = LoadStats()
    for number in range(200):
        stats.error(f"error {number}")
    stats.error("error 1")
    assert (len(stats.errors), stats.errors["other"], stats.errors["error 1"]) == (51, 150, 2)
