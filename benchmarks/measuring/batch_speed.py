"""Measure the speed of batches, in one stream or in several side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import mean, median


@dataclass(frozen=True)
class BatchSpeed:
    """Throughput, latency and CPU time."""

    rate: float
    """Images a second."""
    batch_ms: float
    """Median time of a batch."""
    cpu_ms: float
    """CPU time an image."""

    @staticmethod
    def average(speeds: Sequence[BatchSpeed]) -> BatchSpeed:
        """Return the mean of each figure."""
        return BatchSpeed(
            mean(one.rate for one in speeds),
            mean(one.batch_ms for one in speeds),
            mean(one.cpu_ms for one in speeds),
        )


def time_batches(streams: Sequence[Callable[[], object]], images: int, seconds: float) -> BatchSpeed:
    """Run batches for a time, each stream independently in a thread of its own.

    Args:
        streams: Each runs one batch when called.
        images: In a batch.
        seconds: How long; a batch that was begun is finished, and each stream runs one batch in any case.
    """
    batch_s: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()

    def repeat(run: Callable[[], object]) -> None:
        while True:
            begun = time.perf_counter()
            run()
            ended = time.perf_counter()
            batch_s.append(ended - begun)
            if ended > started + seconds:
                return

    with ThreadPoolExecutor(len(streams)) as pool:
        list(pool.map(repeat, streams))  # Re-raises what a stream raised.
    elapsed, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    done = len(batch_s) * images
    return BatchSpeed(done / elapsed, 1000 * median(batch_s), 1000 * cpu_s / done)
