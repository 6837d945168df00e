"""Calibration with engines whose cost is known."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching.calibration import calibrate


class CostlyEngine:
    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.append(len(pixels))
        time.sleep(self.seconds(len(pixels)))
        return np.zeros((len(pixels), 2), np.float32)

    def close(self) -> None: ...

    async def timed(self, pixels: NDArray[np.uint8], streams: int) -> float:
        """Take the time, and return what it should be: a busy machine sleeps longer."""
        assert streams == 1
        self.run(pixels)
        return self.seconds(len(pixels))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (lambda n: 0.02 * n, {1}),  # A CPU: nothing is gained.
        (lambda n: 0.02, {32}),  # A GPU far from full: everything is.
        (lambda n: 0.02 + 0.02 * max(0, n - 8), {8}),  # Free up to 8, dear beyond.
        (lambda n: 0.001 * n + 0.004, {32}),  # Each doubling brings something.
    ],
    ids=["linear", "flat", "cliff", "fixed part"],
)
async def test_the_smallest_sufficient_size_is_chosen(seconds: Callable[[int], float], expected: set[int]) -> None:
    engine = CostlyEngine(seconds)
    sample = np.zeros((3, 4, 4, 3), np.uint8)
    profile = await calibrate(engine.timed, sample, streams=1, max_size=32, budget_s=10)
    assert profile.batch_size in expected
    assert set(range(1, profile.batch_size + 1)) <= set(engine.sizes)  # None of them will be met cold.
    assert profile.stream_cost.latency_s(1) == pytest.approx(seconds(1), rel=0.5, abs=0.02)


async def test_the_budget_ends_the_search() -> None:
    engine = CostlyEngine(lambda n: 0.05)
    sample = np.zeros((1, 4, 4, 3), np.uint8)
    profile = await calibrate(engine.timed, sample, streams=1, max_size=1024, budget_s=0.5)
    assert profile.batch_size < 64


@pytest.mark.parametrize(
    ("alone", "per_stream", "streams"),
    [
        (lambda n: 0.010 * n, lambda n: 0.015 * n, 2),  # Cores that wait for each other.
        (lambda n: 0.010 * n, lambda n: 0.020 * n, 2),  # As fast, while nothing else needs the cores.
        (lambda n: 0.010 * n, lambda n: 0.024 * n, 1),
        (lambda n: 0.010 + 0.002 * n, lambda n: 0.040 + 0.004 * n, 1),  # Weights that are read once a batch.
    ],
    ids=["streams pay", "streams are as fast", "streams cost", "the batch costs"],
)
async def test_streams_are_used_only_if_they_are_faster(
    alone: Callable[[int], float], per_stream: Callable[[int], float], streams: int
) -> None:
    async def run(pixels: NDArray[np.uint8], streams: int) -> float:
        return alone(len(pixels)) if streams == 1 else per_stream(len(pixels))

    profile = await calibrate(run, np.zeros((3, 4, 4, 3), np.uint8), streams=2, max_size=32, budget_s=10)
    assert profile.streams == streams
    assert profile.latency_s(1) == pytest.approx(alone(1), rel=0.2)
    assert profile.work_s(32) == pytest.approx((alone if streams == 1 else per_stream)(32) / streams, rel=0.2)
