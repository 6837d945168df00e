"""The scenarios: content of the requests, arrivals, and length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .arrivals import Arrivals
from .requests import Content

Loop = Literal["closed"] | Arrivals

BURST_S = 2.0
QUIET_S = 8.0
BURST_FACTOR = 3.0
"""Multiple of the mean rate in a burst; between bursts the rate keeps the mean."""
QUIET_FACTOR = (QUIET_S + BURST_S - BURST_FACTOR * BURST_S) / QUIET_S

SOAK_PARTS = 5
"""Parts of a soak, of which the last is compared with the first."""


@dataclass(frozen=True)
class Scenario:
    """A kind of load with its defaults."""

    about: str
    content: Content
    loop: Loop
    seconds: float
    """How long it is measured; of a ramp, each step."""
    clients: int = 8
    """Clients of a closed loop."""
    rate: float = 20.0
    """Requests a second in an open loop: the mean; of a ramp, the first step."""
    needs_schedule: bool = False
    """Whether it makes no sense in a closed loop."""


SCENARIOS = {
    "single": Scenario("one image of 500 × 375 a request", "single", "closed", 30),
    "instances": Scenario("eight images of 500 × 375 a request", "instances", "closed", 30, clients=4),
    "photos": Scenario("photographs of 1.2 and 12 megapixels", "photos", "closed", 30, rate=5),
    "mixed": Scenario("all of these, mostly single images", "mixed", "closed", 30),
    "burst": Scenario("bursts of three times the mean rate", "single", "poisson", 60, rate=40, needs_schedule=True),
    "ramp": Scenario("the highest rate that meets the objectives", "single", "poisson", 10, needs_schedule=True),
    "soak": Scenario("a steady rate for long", "mixed", "poisson", 1800, needs_schedule=True),
}


@dataclass(frozen=True)
class Step:
    """A span of constant load."""

    name: str
    seconds: float
    rate: float
    """Requests a second; 0 in a closed loop."""
    counted: bool = True
    """Whether it counts; a warm-up does not."""


def steps(scenario: str, rate: float, seconds: float, warm_up_s: float) -> Iterator[Step]:
    """Yield the steps of any scenario but a ramp, whose steps depend on the results.

    Args:
        scenario: Its name.
        rate: Requests a second, the mean; 0 in a closed loop.
        seconds: How long it is measured.
        warm_up_s: How long it runs before.
    """
    yield Step("warm-up", warm_up_s, rate, counted=False)
    if scenario == "burst":
        while seconds > 0:
            yield Step("quiet", min(QUIET_S, seconds), rate * QUIET_FACTOR)
            seconds -= QUIET_S
            if seconds > 0:
                yield Step("burst", min(BURST_S, seconds), rate * BURST_FACTOR)
                seconds -= BURST_S
    elif scenario == "soak":
        for part in range(1, SOAK_PARTS + 1):
            yield Step(f"part {part}", seconds / SOAK_PARTS, rate)
    else:
        yield Step("load", seconds, rate)
