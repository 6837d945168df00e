from __future__ import annotations

import argparse
import re

import pytest

from loadtest.load.options import LoadOptions, add_options, read_options
from loadtest.load.scenarios import SCENARIOS, steps


def read(*arguments: str) -> LoadOptions:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return read_options(parser.parse_args(arguments))


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("2.5s", 2.5), ("15m", 900), ("1h30m", 5400), ("1m5s", 65)])
def test_durations(text: str, seconds: float) -> None:
    assert read("--duration", text).seconds == seconds


def test_what_is_not_given_is_as_the_scenario_says() -> None:
    ramp = read("--scenario", "ramp")
    assert (ramp.content, ramp.loop, ramp.requests_a_second, ramp.seconds) == ("single", "poisson", 20.0, 10.0)
    single = read()
    assert (single.closed, single.clients_count, single.requests_a_second) == (True, 8, 0.0)
    assert read("--arrivals", "constant", "--rate", "5", "--requests", "photos").requests_a_second == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--duration", "soon"], "duration: is no duration; give it as 90, 90s, 15m or 1h30m"),
        (["--rate", "-1"], "rate: Input should be greater than or equal to 0"),
        (["--rate", "5"], "rate: needs arrivals constant or poisson; "),
        (["--scenario", "ramp", "--clients", "5"], "clients: needs arrivals closed; "),
        (["--scenario", "soak", "--arrivals", "closed"], "arrivals: soak needs constant or poisson"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(*arguments)


def test_bursts_keep_the_mean_rate() -> None:
    taken = list(steps("burst", 40.0, 60.0, 3.0))
    assert [step.name for step in taken[:3]] == ["warm-up", "quiet", "burst"]
    counted = [step for step in taken if step.counted]
    assert sum(step.seconds for step in counted) == 60
    assert sum(step.seconds * step.rate for step in counted) == pytest.approx(40 * 60)
    assert max(step.rate for step in counted) == 120


@pytest.mark.parametrize("scenario", sorted(set(SCENARIOS) - {"ramp"}))
def test_steps_last_as_long_as_was_asked(scenario: str) -> None:
    counted = [step for step in steps(scenario, 7.0, 33.0, 1.0) if step.counted]
    assert sum(step.seconds for step in counted) == pytest.approx(33)
    assert len(counted) == {"soak": 5, "burst": 7}.get(scenario, 1)
