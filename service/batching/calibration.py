"""Calibrate a version at warm-up: measure batch costs, and choose streams and batch size."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from service.batching.tuning import WORTH, BatchProfile

Run = Callable[[NDArray[np.uint8], int], Awaitable[float]]
"""Runs a batch, `uint8 [n, height, width, 3]`, alone on all cores, or the same batch in so many streams at once.

Returns the seconds that the engine took for one of them.
"""

_AS_FAST = 0.9
"""Share of the best throughput on all cores that one image per stream must reach, so that streams are used.

Not more, because batches on all cores lose more than streams do once decoding uses the same cores.
"""

_REPEATS = 3
"""Timed runs of each size; the fastest counts, since other load can only slow a run down."""


async def learn(run: Run, sample: NDArray[np.uint8], *, streams: int, max_size: int, budget_s: float) -> BatchProfile:
    """Measure batches on all cores and in streams, and choose the better of the two with its batch size.

    Streams are better if the cost is in the images: no core waits for another. One large batch on all cores is better
    if much of the cost is in the batch (reading the weights, for small images).

    Every size up to the chosen one has been run then, so that the first live batch of a size is not slow.

    Args:
        run: Runs batches.
        sample: Real inputs, `uint8 [n, height, width, 3]`; repeated to fill a batch.
        streams: Of the engine.
        max_size: The largest size to try.
        budget_s: Time for the measurement, in seconds; the size 1 is always measured.
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
    """Time batches of 1, 2, 4, 8, … until two in a row gain nothing, or the budget is spent."""
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
    """Return `size` images by repeating the sample."""
    return np.resize(sample, (size, *sample.shape[1:]))
