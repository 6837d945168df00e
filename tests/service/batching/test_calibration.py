"""Learning the batch size before engines whose cost is known, and the check against the golden set."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.registry import load_engine
from engines.selection import choose_variant
from model_store.trust.verify import VerifiedModel, verify_folder
from service.batching.calibration import calibrate
from service.lifecycle.golden_check import GoldenMismatchError, check_golden, golden_pixels


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
        assert streams == 1
        started = time.perf_counter()
        self.run(pixels)
        return time.perf_counter() - started


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
async def test_the_smallest_size_that_pays(seconds: Callable[[int], float], expected: set[int]) -> None:
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
async def test_streams_only_where_they_pay(
    alone: Callable[[int], float], per_stream: Callable[[int], float], streams: int
) -> None:
    async def run(pixels: NDArray[np.uint8], streams: int) -> float:
        return alone(len(pixels)) if streams == 1 else per_stream(len(pixels))

    profile = await calibrate(run, np.zeros((3, 4, 4, 3), np.uint8), streams=2, max_size=32, budget_s=10)
    assert profile.streams == streams
    assert profile.latency_s(1) == pytest.approx(alone(1), rel=0.2)
    assert profile.work_s(32) == pytest.approx((alone if streams == 1 else per_stream)(32) / streams, rel=0.2)


@pytest.fixture(scope="module")
def model(package: Path) -> VerifiedModel:
    return verify_folder(package, model="xception", version=1)


def test_the_real_engine_gives_the_golden_answers(model: VerifiedModel) -> None:
    variant = choose_variant(model.manifest, "openvino", "fp32", 0.01)
    engine = load_engine(model, variant, threads=2)
    scores = engine.run(golden_pixels(model))
    check_golden(scores, model, variant)
    with pytest.raises(GoldenMismatchError, match=r"differs by 0.01 .* image 0"):
        check_golden(scores + np.float32(0.01), model, variant)
    with pytest.raises(GoldenMismatchError, match="not finite"):
        check_golden(np.full_like(scores, np.nan), model, variant)
    with pytest.raises(GoldenMismatchError, match=r"shape \[9, 10\]"):
        check_golden(scores[1:], model, variant)


def test_golden_pixels_are_the_models_input(model: VerifiedModel) -> None:
    assert golden_pixels(model).shape == (10, 71, 71, 3)
