"""Sample memory, descriptors, threads and CPU time of a server's processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from benchmarks.load.open_loop import Span

from .server_process import ServerProcess

ROLES = ("supervisor", "edge", "runner")
"""The supervisor is BentoML's own process, which starts the others."""


@dataclass(frozen=True)
class Sample:
    """The totals of the processes of one role at a moment."""

    at: float
    role: str
    pids: tuple[int, ...]
    private_mib: float
    """Memory that no other process shares: unlike the others it does not change when other processes start or end."""
    pss_mib: float
    rss_mib: float
    descriptors: int
    threads: int
    cpu_s: float


class Sampler:
    """Sample the processes at an interval, from entering the block to leaving it."""

    def __init__(self, server: ServerProcess, every_s: float) -> None:
        self.samples: list[Sample] = []
        self._server = server
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(psutil.Error):  # A process has just ended; its successor is seen the next time.
                self.samples += [_sample(role, processes) for role, processes in self._server.processes().items()]
            self._over.wait(self._every_s)


def _sample(role: str, processes: list[psutil.Process]) -> Sample:
    memory = [process.memory_full_info() for process in processes]
    times = [process.cpu_times() for process in processes]
    return Sample(
        time.perf_counter(),
        role,
        tuple(process.pid for process in processes),
        sum(one.uss for one in memory) / 2**20,
        sum(one.pss for one in memory) / 2**20,
        sum(one.rss for one in memory) / 2**20,
        sum(process.num_fds() for process in processes),
        sum(process.num_threads() for process in processes),
        sum(one.user + one.system for one in times),
    )


def during(samples: Iterable[Sample], role: str, span: Span) -> list[Sample]:
    """Return the samples of a role in a time span."""
    return [sample for sample in samples if sample.role == role and span.holds(sample.at)]


def cores(samples: Iterable[Sample], role: str, span: Span) -> float:
    """Return how many cores the processes of a role kept busy in a time span; 0 where too few samples say so."""
    seen = during(samples, role, span)
    if len(seen) < 2 or seen[0].pids != seen[-1].pids:
        return 0.0
    return (seen[-1].cpu_s - seen[0].cpu_s) / (seen[-1].at - seen[0].at)
