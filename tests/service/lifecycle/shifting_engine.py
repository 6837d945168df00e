"""An engine for tests of the life cycle: that of version k returns, for an image of value v, the class v + k.

The fixture `engine` adds it to the registry, where it is one entry like every other engine.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel

CLASSES = 4

loaded: list[int] = []
"""The shifts of the engines in memory."""

gate = threading.Event()
"""Loading waits for it."""
gate.set()


class ShiftingEngine:
    streams = 1

    def __init__(self, shift: int) -> None:
        self._shift = shift
        loaded.append(shift)

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        return scores(pixels, self._shift)

    def shrink(self) -> None: ...

    def close(self) -> None:
        loaded.remove(self._shift)


def scores(pixels: NDArray[np.uint8], shift: int) -> NDArray[np.float32]:
    """Return the scores of an engine with this shift, `float32 [n, CLASSES]`."""
    return np.eye(CLASSES, dtype=np.float32)[(pixels[:, 0, 0, 0] + shift) % CLASSES]


def load(
    model: VerifiedModel, variant: Variant, threads: int, streams: int = 0, *, parallel_compile: bool = True
) -> ShiftingEngine:
    assert gate.wait(30)
    return ShiftingEngine(int(model.path(variant.path).read_text()))
