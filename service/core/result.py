"""The scores of one request, and its durations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Result:
    """The scores of one request, and its durations."""

    scores: NDArray[np.float32]
    """`float32 [n, classes]`, in the order of the images."""
    queue_s: float
    """From its arrival until its first image left the queue."""
    infer_s: float
    """Time in the engine, of all batches that held its images."""
    batch_size: int
    """Images in the largest of those batches, of this request and others."""
