"""Before a version goes live: learn its batch size, and check that it still gives the answers it should."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from service.batching.tuning import WORTH, BatchProfile

Run = Callable[[NDArray[np.uint8], int], Awaitable[float]]
"""Runs a batch, `uint8 [n, height, width, 3]`, alone on all cores, or the same in each of so many lanes at once.

Returns the seconds that the engine took for one of them.
"""

_AS_FAST = 0.9
"""Share of the best throughput on all cores that one image in each lane must reach, so that lanes are used.

More than that is not asked, as batches on all cores lose more than lanes do once decoding takes its share of them.
"""

_REPEATS = 3
"""Timed runs of each size; the fastest counts, since whatever else the machine does can only slow a run down."""


async def learn(run: Run, sample: NDArray[np.uint8], *, streams: int, max_size: int, budget_s: float) -> BatchProfile:
    """Find out what batches cost on all cores and in lanes, which of the two is better, and what size pays there.

    Where the cost is in the images, lanes are: no core waits for another. Where much of it is in the batch (weights
    that have to be read, for a small picture), one large batch for all cores is: lanes would have to share its images.

    Every size up to the one that pays has then been run, so that none of them is met cold.

    Args:
        run: Runs batches.
        sample: Real inputs, `uint8 [n, height, width, 3]`; repeated to fill a batch.
        streams: How many the engine has.
        max_size: The largest size to try.
        budget_s: Time for the measurement, in seconds; the size 1 is measured whatever it takes.
    """
    alone = await _learn_sizes(run, sample, 1, max_size, budget_s if streams == 1 else budget_s / 2)
    if streams == 1:
        return alone
    beside = await _learn_sizes(run, sample, streams, max_size, budget_s / 2)
    if streams * beside.rates[1] < _AS_FAST * max(alone.rates.values()):
        return alone
    beside.alone = alone.cost
    return beside


async def _learn_sizes(
    run: Run, sample: NDArray[np.uint8], streams: int, max_size: int, budget_s: float
) -> BatchProfile:
    """Time batches of 1, 2, 4, 8, … until two in a row bring nothing, or the time is up."""
    until = time.perf_counter() + budget_s
    profile = BatchProfile(streams)
    size = 1
    while size <= max_size:
        batch = batch_of(sample, size)
        await run(batch, streams)
        seconds = min([await run(batch, streams) for _ in range(_REPEATS)])
        profile.cost.observe(size, seconds)
        profile.measured(size, seconds)
        rates = profile.rates
        fruitless = all(rates[size] * WORTH < rates[other] for other in (size // 2, size // 4) if other)
        if (fruitless and size >= 4) or time.perf_counter() + 8 * seconds > until:
            break
        size *= 2
    for between in set(range(1, profile.batch_size)) - set(profile.rates):
        await run(batch_of(sample, between), streams)
    return profile


def batch_of(sample: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return `size` images, those of the sample again and again."""
    return np.resize(sample, (size, *sample.shape[1:]))
