"""The service with an engine that breaks when it is told to: `bentoml serve tests.faults.faulty_app`.

What it does is in the file that `FAULT_FILE` names, read before every batch: `raise`, `hang`, `nan`, `shape`, `memory`
or `exit`; with `bad` behind it only batches that hold an image that is all black have it. `clock SECONDS` sets the
clock of the process, as Python sees it, forward or back. With `load` no engine is loaded until the
fault has passed. Everything else is the service as it is.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from service.app import EdgeService, RunnerService
from service.lifecycle import loader as loading

__all__ = ["EdgeService", "RunnerService"]

_load, _clock = loading.load_engine, time.time


def fault() -> list[str]:
    """Return the fault that is in force, word by word."""
    try:
        return Path(os.environ["FAULT_FILE"]).read_text().split()
    except OSError:
        return []


class FaultyEngine:
    """An engine, and what may go wrong with it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.streams = engine.streams

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        """Return scores, or do what the fault says."""
        words = fault()
        kind = words[0] if words else ""
        if "bad" in words and pixels.any(axis=(1, 2, 3)).all():
            kind = ""
        if kind == "raise":
            raise RuntimeError("the device is gone")
        if kind == "hang":
            time.sleep(3600)
        if kind == "exit":
            os._exit(3)
        if kind == "memory":
            exhaust_memory()
        scores = self._engine.run(pixels, stream)
        if kind == "nan":
            scores[:, 0] = np.nan
        return scores[:, None] if kind == "shape" else scores

    def shrink(self) -> None:
        """Pass it on."""
        self._engine.shrink()

    def close(self) -> None:
        """Pass it on."""
        self._engine.close()


def exhaust_memory() -> None:
    """Take memory until the system gives no more, which here is soon.

    Raises:
        MemoryError: Always.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, before[1]))
    taken = []
    try:
        while True:
            taken.append(np.ones(2**22, np.uint8))
    finally:
        taken.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def jumping_clock() -> float:
    """Return the time of day, moved by what the fault says."""
    words = fault()
    return _clock() + (float(words[1]) if words[:1] == ["clock"] else 0.0)


def load_faulty_engine(*arguments: Any, **options: Any) -> FaultyEngine:
    """Load an engine that can be broken, unless loading it is what hangs."""
    while fault() == ["load"]:
        time.sleep(0.1)
    return FaultyEngine(_load(*arguments, **options))


loading.load_engine = load_faulty_engine  # type: ignore[assignment]
time.time = jumping_clock
