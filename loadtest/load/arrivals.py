"""Schedule the requests of an open loop, independent of how the service responds.

A closed loop, where each client waits for its response, sends less just when the service gets slow, and so hides the
latency that independent clients would see (coordinated omission). Here the times are fixed in advance, and latency
counts from them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, takewhile
from typing import Literal

Arrivals = Literal["constant", "poisson"]
"""`constant`: evenly spaced. `poisson`: at random, as those of many independent clients are."""


def schedule(
    arrivals: Arrivals, rate: float, seconds: float, *, part: int = 0, parts: int = 1, seed: str = ""
) -> Iterator[float]:
    """Yield the due times of one of several processes that share a rate, in seconds from the start, in order.

    Args:
        arrivals: Distribution of the times.
        rate: Requests a second of all processes together.
        seconds: How long.
        part: The number of this process. Evenly spaced ones take turns; random ones differ by it.
        parts: How many processes there are.
        seed: The same seed gives the same times.
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
