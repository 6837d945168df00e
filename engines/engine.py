"""The interface of an engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A variant of a model, loaded and ready to run.

    A batch that runs alone, on all cores, has the lowest latency; batches that run side by side in streams have the
    highest throughput. Each stream is used by one thread at a time, and nothing runs alone while a stream is in use.
    """

    streams: int
    """Batches that can run in parallel, each on its own share of the cores; 1 if that gains nothing."""

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        """Return the scores of a batch.

        Args:
            pixels: `uint8 [n, height, width, 3]`, contiguous.
            stream: None runs the batch alone, on all cores; 0 to `streams` - 1 in that stream, beside the others.

        Returns:
            `float32 [n, classes]`, owned by the code that called.
        """
        ...

    def shrink(self) -> None:
        """Free the intermediate results of the batches so far, while none runs; the next batches allocate them again.

        They are kept from batch to batch, and as large as the largest batch needed.
        """
        ...

    def close(self) -> None:
        """Free memory and threads."""
        ...
