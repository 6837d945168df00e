"""Check that an engine reproduces the golden scores recorded when the model was packaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel


class GoldenMismatchError(Exception):
    """The engine does not reproduce the scores recorded when the model was packaged."""


def golden_pixels(model: VerifiedModel) -> NDArray[np.uint8]:
    """Return the inputs of the golden set, `uint8 [n, height, width, 3]`."""
    pixels: NDArray[np.uint8] = np.load(model.path(model.manifest.golden.pixels), allow_pickle=False)
    contract = model.manifest.input
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (contract.height, contract.width, 3) or not len(pixels):
        raise GoldenMismatchError(f"the golden pixels are {pixels.dtype} {list(pixels.shape)}, not the model's input")
    return pixels


def check_golden(scores: NDArray[np.float32], model: VerifiedModel, variant: Variant) -> None:
    """Compare an engine's scores of the golden set with those of the float32 Keras model.

    Args:
        scores: Of the golden pixels, `float32 [n, classes]`.
        model: Holds the golden set.
        variant: Of the engine; declares the tolerance.

    Raises:
        GoldenMismatchError: The top class is another, or a score differs by more than the tolerance of the variant.
    """
    expected: NDArray[np.float32] = np.load(model.path(model.manifest.golden.scores), allow_pickle=False)
    if expected.ndim != 2 or expected.shape[1] != len(model.manifest.classes):
        raise GoldenMismatchError(f"the golden scores have shape {list(expected.shape)}")
    if scores.shape != expected.shape or not np.isfinite(scores).all():
        raise GoldenMismatchError(
            f"{variant.name} returned scores of shape {list(scores.shape)}, or some that are not finite"
        )
    differences = np.abs(scores - expected).max(axis=1)
    for index, difference in enumerate(differences):
        if difference > variant.tolerance:
            raise GoldenMismatchError(
                f"{variant.name} differs by {difference:.2g} from the golden scores of image {index}; "
                f"its tolerance is {variant.tolerance:g}"
            )
        if scores[index].argmax() != expected[index].argmax() and _clear_winner(expected[index], variant.tolerance):
            raise GoldenMismatchError(f"{variant.name} has another top class for golden image {index}")


def _clear_winner(scores: NDArray[np.float32], tolerance: float) -> bool:
    """Return whether the lead of the best class is larger than the tolerance can reverse."""
    second, first = np.partition(scores, -2)[-2:]
    return bool(first - second > 2 * tolerance)
