"""Before a version goes live: learn its batch size, and check that it still gives the answers it should."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel

from .learned import WORTH, Learned

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


class GoldenMismatchError(Exception):
    """The engine does not give the answers that the model gave when it was packaged."""


def golden_pixels(model: VerifiedModel) -> NDArray[np.uint8]:
    """Return the inputs of the golden set, `uint8 [n, height, width, 3]`."""
    pixels: NDArray[np.uint8] = np.load(model.path(model.manifest.golden.pixels), allow_pickle=False)
    contract = model.manifest.input
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (contract.height, contract.width, 3) or not len(pixels):
        raise GoldenMismatchError(f"the golden pixels are {pixels.dtype} {list(pixels.shape)}, not the model's input")
    return pixels


async def learn(run: Run, sample: NDArray[np.uint8], *, lanes: int, max_size: int, budget_s: float) -> Learned:
    """Find out what batches cost on all cores and in lanes, which of the two is better, and what size pays there.

    Where the cost is in the images, lanes are: no core waits for another. Where much of it is in the batch (weights
    that have to be read, for a small picture), one large batch for all cores is: lanes would have to share its images.

    Every size up to the one that pays has then been run, so that none of them is met cold.

    Args:
        run: Runs batches.
        sample: Real inputs, `uint8 [n, height, width, 3]`; repeated to fill a batch.
        lanes: How many the engine has.
        max_size: The largest size to try.
        budget_s: Time for the measurement, in seconds; the size 1 is measured whatever it takes.
    """
    alone = await _learn_sizes(run, sample, 1, max_size, budget_s if lanes == 1 else budget_s / 2)
    if lanes == 1:
        return alone
    beside = await _learn_sizes(run, sample, lanes, max_size, budget_s / 2)
    if lanes * beside.rates[1] < _AS_FAST * max(alone.rates.values()):
        return alone
    beside.alone = alone.cost
    return beside


async def _learn_sizes(run: Run, sample: NDArray[np.uint8], lanes: int, max_size: int, budget_s: float) -> Learned:
    """Time batches of 1, 2, 4, 8, … until two in a row bring nothing, or the time is up."""
    until = time.perf_counter() + budget_s
    learned = Learned(lanes)
    size = 1
    while size <= max_size:
        batch = batch_of(sample, size)
        await run(batch, lanes)
        seconds = min([await run(batch, lanes) for _ in range(_REPEATS)])
        learned.cost.observe(size, seconds)
        learned.measured(size, seconds)
        rates = learned.rates
        fruitless = all(rates[size] * WORTH < rates[other] for other in (size // 2, size // 4) if other)
        if (fruitless and size >= 4) or time.perf_counter() + 8 * seconds > until:
            break
        size *= 2
    for between in set(range(1, learned.batch_size)) - set(learned.rates):
        await run(batch_of(sample, between), lanes)
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
