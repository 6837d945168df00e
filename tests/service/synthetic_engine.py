"""An engine for tests of the batcher, whose cost and faults are known, and ways to ask it."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
from numpy.typing import NDArray

from service.batching.batcher import Batcher
from service.batching.tuning import BatchProfile
from service.core.deadline import Deadline, Priority
from service.core.result import Result

BAD = 255


class SyntheticEngine:
    """Answers each image with its first pixel; fails on a batch that holds the value BAD; can be held up."""

    def __init__(self, batch_size: int = 4, seconds: float = 0.0, streams: int = 1) -> None:
        self.profile = BatchProfile(streams, batch_size)
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.streams: list[int | None] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def run(self, pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
        firsts = pixels[:, 0, 0, 0]
        self.streams.append(stream)
        self.batches.append(firsts.tolist())
        self.entered.release()
        assert self.gate.wait(10)
        time.sleep(self.seconds)
        if (firsts == BAD).any():
            raise RuntimeError("bad pixel")
        return firsts.astype(np.float32)[:, None]


class Observed:
    def __init__(self) -> None:
        self.drops: dict[str, int] = {}

    def batch_finished(self, images: int, seconds: float) -> None: ...

    def images_dropped(self, reason: str, images: int) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + images


def images(*values: int) -> NDArray[np.uint8]:
    return np.stack([np.full((2, 2, 3), value, np.uint8) for value in values])


def submit(
    batcher: Batcher,
    engine: SyntheticEngine,
    *values: int,
    timeout: float = 10.0,
    priority: Priority = Priority.INTERACTIVE,
) -> asyncio.Task[Result]:
    return asyncio.create_task(batcher.submit(engine, images(*values), Deadline(timeout), priority))


async def held_up(batcher: Batcher, engine: SyntheticEngine) -> asyncio.Task[Result]:
    """Occupy the engine with one image, so that what comes next has to queue."""
    engine.gate.clear()
    first = submit(batcher, engine, 0)
    await asyncio.to_thread(engine.entered.acquire)
    return first
