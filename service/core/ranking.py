"""Rank the classes by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RankedClass:
    """A class and the score that a model gave it."""

    name: str
    index: int
    score: float


def rank(scores: NDArray[np.float32], classes: Sequence[str], k: int) -> list[RankedClass]:
    """Return the `k` best classes, best first; equal scores keep the order of the classes.

    Args:
        scores: `float32 [classes]`.
        classes: Names, in the order of the scores.
        k: Number of classes; at most all are returned.
    """
    best = np.argsort(-scores, kind="stable")[:k]
    return [RankedClass(classes[index], int(index), float(scores[index])) for index in best]
