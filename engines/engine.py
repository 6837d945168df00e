"""The interface of an engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A variant of a model, loaded and ready to run.

    A batch that runs exclusively, on all cores, has the lowest latency; batches that run in parallel streams have the
    highest throughput. A stream is used by one thread at a time; no batch runs exclusively while a stream is in use.
    """

    streams: int
    """Batches that can run in parallel, each on its own share of the cores; 1 if that gains nothing."""

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        """Return the scores of a batch.

        Args:
            pixels: `uint8 [n, height, width, 3]`, contiguous.
            stream: None runs the batch on all cores; 0 to `streams` - 1 in that stream, in parallel with the others.

        Returns:
            `float32 [n, classes]`, owned by the calling code.
        """
        ...

    def shrink(self) -> None:
        """Free the intermediate results of the batches so far, while none runs; the next batches allocate them again.

        They are kept between batches, with the size of the largest batch.
        """
        ...

    def close(self) -> None:
        """Free memory and threads."""
        ...
