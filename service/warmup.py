"""Before a version goes live: learn its batch size, and check that it still gives the answers it should."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import Variant
from model_store.verify import VerifiedModel

from .learned import WORTH, Learned

Run = Callable[[NDArray[np.uint8]], Awaitable[float]]
"""Runs a batch, `uint8 [n, height, width, 3]`, and returns the seconds that the engine took for it."""

_REPEATS = 3
"""Timed runs of each size; the fastest counts, since whatever else the machine does can only slow a run down."""


class GoldenMismatchError(Exception):
    """The engine does not give the answers that the model gave when it was packaged."""


def golden_pixels(model: VerifiedModel) -> NDArray[np.uint8]:
    """Return the inputs of the golden set, `uint8 [n, height, width, 3]`."""
    pixels: NDArray[np.uint8] = np.load(model.path(model.manifest.golden.pixels), allow_pickle=False)
    contract = model.manifest.input
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (contract.height, contract.width, 3) or not len(pixels):
        raise GoldenMismatchError(f"the golden pixels are {pixels.dtype} {list(pixels.shape)}, not the model's input")
    return pixels


async def learn(
    run: Run, run_alone: Run, sample: NDArray[np.uint8], *, lanes: int, max_size: int, budget_s: float
) -> Learned:
    """Time a lone image, then batches of 1, 2, 4, … in the lanes until two in a row bring nothing, or the time is up.

    Then batches of 2, 3, 4, … on all cores, as long as they are done sooner than in the lanes. Every size up to those
    that pay has then been run, so that none of them is met cold.

    Args:
        run: Runs a batch in each lane at once.
        run_alone: Runs a batch on all cores.
        sample: Real inputs, `uint8 [n, height, width, 3]`; repeated to fill a batch.
        lanes: How many the engine has.
        max_size: The largest size to try.
        budget_s: Time for the measurement, in seconds; the size 1 is measured whatever it takes.
    """
    until = time.perf_counter() + budget_s
    learned = Learned(lanes)
    if lanes > 1:
        learned.alone.observe(1, min([await run_alone(sample[:1]) for _ in range(_REPEATS)]))
    size = 1
    while size <= max_size:
        batch = batch_of(sample, size)
        await run(batch)
        seconds = min([await run(batch) for _ in range(_REPEATS)])
        learned.cost.observe(size, seconds)
        learned.measured(size, seconds)
        rates = learned.rates
        fruitless = all(rates[size] * WORTH < rates[other] for other in (size // 2, size // 4) if other)
        if (fruitless and size >= 4) or time.perf_counter() + 8 * seconds > until:
            break
        size *= 2
    for between in set(range(1, learned.batch_size)) - set(learned.rates):
        await run(batch_of(sample, between))
    for together in range(2, lanes * learned.batch_size + 1) if lanes > 1 else ():
        batch = batch_of(sample, together)
        await run_alone(batch)
        learned.alone.observe(together, await run_alone(batch))
        learned.alone_max = together
        if not learned.prefers_alone(together) or time.perf_counter() > until:
            break
    return learned


def check_golden(scores: NDArray[np.float32], model: VerifiedModel, variant: Variant) -> None:
    """Compare an engine's scores of the golden set with those of the float32 Keras model.

    Args:
        scores: Of the golden pixels, `float32 [n, classes]`.
        model: Holds the golden set.
        variant: What gave the scores; declares the tolerance.

    Raises:
        GoldenMismatchError: Another class came first, or a score differs by more than the variant's tolerance.
    """
    expected: NDArray[np.float32] = np.load(model.path(model.manifest.golden.scores), allow_pickle=False)
    if expected.ndim != 2 or expected.shape[1] != len(model.manifest.classes):
        raise GoldenMismatchError(f"the golden scores have shape {list(expected.shape)}")
    if scores.shape != expected.shape or not np.isfinite(scores).all():
        raise GoldenMismatchError(f"{variant.name} gives scores of shape {list(scores.shape)} or not finite ones")
    differences = np.abs(scores - expected).max(axis=1)
    for index, difference in enumerate(differences):
        if difference > variant.tolerance:
            raise GoldenMismatchError(
                f"{variant.name} differs by {difference:.2g} from the golden scores of image {index}; "
                f"its tolerance is {variant.tolerance:g}"
            )
        if scores[index].argmax() != expected[index].argmax() and _clear_winner(expected[index], variant.tolerance):
            raise GoldenMismatchError(f"{variant.name} takes golden image {index} for another class")


def batch_of(sample: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return `size` images, those of the sample again and again."""
    return np.resize(sample, (size, *sample.shape[1:]))


def _clear_winner(scores: NDArray[np.float32], tolerance: float) -> bool:
    """Tell whether the best class leads by more than the tolerance can turn round."""
    second, first = np.partition(scores, -2)[-2:]
    return bool(first - second > 2 * tolerance)
