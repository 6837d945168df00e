"""Calibrate a version at warm-up: measure batch costs, and choose streams and batch size."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from service.batching.tuning import SUFFICIENT_SHARE, BatchProfile

Run = Callable[[NDArray[np.uint8], int], Awaitable[float]]
"""Runs a batch, `uint8 [n, height, width, 3]`, on all cores, or the same batch in so many streams at once.

Returns the seconds that the engine took for one of them.
"""

_MIN_STREAM_SHARE = 0.9
"""Share of the best throughput on all cores that one image per stream must reach, so that streams are used.

Not more, because batches on all cores lose more than streams do once decoding uses the same cores.
"""

_REPEATS = 3
"""Timed runs of each size; the fastest counts, since other load can only slow a run down."""


async def calibrate(
    run: Run, sample: NDArray[np.uint8], *, streams: int, max_size: int, budget_s: float
) -> BatchProfile:
    """Measure batches on all cores and in streams, and choose the better of the two with its batch size.

    Streams are better if the cost is in the images: no core waits for another. One large batch on all cores is better
    if much of the cost is in the batch (reading the weights, for small images).

    Every size up to the chosen one is run, so that the first live batch of a size is not slow.

    Args:
        run: Runs batches.
        sample: Real inputs, `uint8 [n, height, width, 3]`; repeated to fill a batch.
        streams: Of the engine.
        max_size: The largest size to try.
        budget_s: Time for the measurement, in seconds; size 1 is always measured.
    """
    exclusive = await _measure_sizes(run, sample, 1, max_size, budget_s if streams == 1 else budget_s / 2)
    if streams == 1:
        return exclusive
    parallel = await _measure_sizes(run, sample, streams, max_size, budget_s / 2)
    if streams * parallel.rates[1] < _MIN_STREAM_SHARE * max(exclusive.rates.values()):
        return exclusive
    parallel.exclusive_cost = exclusive.stream_cost
    return parallel


async def _measure_sizes(
    run: Run, sample: NDArray[np.uint8], streams: int, max_size: int, budget_s: float
) -> BatchProfile:
    """Time batches of 1, 2, 4, 8, … until two in a row gain nothing, or the budget is spent."""
    end = time.perf_counter() + budget_s
    profile = BatchProfile(streams)
    size = 1
    while size <= max_size:
        batch = batch_of(sample, size)
        await run(batch, streams)
        seconds = min([await run(batch, streams) for _ in range(_REPEATS)])
        profile.stream_cost.observe(size, seconds)
        profile.record_measurement(size, seconds)
        rates = profile.rates
        no_gain = all(rates[size] * SUFFICIENT_SHARE < rates[other] for other in (size // 2, size // 4) if other)
        if (no_gain and size >= 4) or time.perf_counter() + 8 * seconds > end:
            break
        size *= 2
    for unmeasured in set(range(1, profile.batch_size)) - set(profile.rates):
        await run(batch_of(sample, unmeasured), streams)
    return profile


def batch_of(sample: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return `size` images by repeating the sample."""
    return np.resize(sample, (size, *sample.shape[1:]))
