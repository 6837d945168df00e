"""When requests are sent in an open loop: whatever the service does, as its callers do not know one another.

A closed loop, where each client waits for its answer, asks less of a service just when that gets slow, and so never
sees what its callers would have waited. Here the times are set before, and latency counts from them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, takewhile
from typing import Literal

Arrivals = Literal["constant", "poisson"]
"""`constant`: evenly spaced. `poisson`: at random, as those of many independent callers are."""


def schedule(
    arrivals: Arrivals, rate: float, seconds: float, *, part: int = 0, parts: int = 1, seed: str = ""
) -> Iterator[float]:
    """Yield the times of one of several processes that share a rate, in seconds from the start, in order.

    Args:
        arrivals: How they are spread.
        rate: Requests a second of all processes together.
        seconds: How long.
        part: The number of this process. Evenly spaced ones take turns; random ones differ by it.
        parts: How many processes there are.
        seed: The same one gives the same times.
    """
    times: Iterator[float]
    if arrivals == "constant":
        times = ((turn * parts + part + 0.5) / rate for turn in count())
    else:
        times = _poisson(rate / parts, random.Random(f"{seed}/{part}"))
    return takewhile(lambda time: time < seconds, times)


def _poisson(rate: float, chance: random.Random) -> Iterator[float]:
    time = 0.0
    while True:
        time += chance.expovariate(rate)
        yield time
