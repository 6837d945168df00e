"""Measure what other processes took of the machine during a measurement."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

THRESHOLD = 0.05
"""Share of one core that another process must have taken to spoil a measurement."""


@dataclass(frozen=True)
class Interference:
    """CPU time that others took, in cores."""

    named: dict[str, float]
    """Processes that took more than a twentieth of a core and still run, by name and id."""
    others: float
    """All time that was neither idle nor ours."""
    stolen: float
    """Time that the hypervisor gave to other machines."""

    @property
    def spoils(self) -> bool:
        """Return whether the measurement is not to be trusted."""
        return bool(self.named) or max(self.others, self.stolen) > THRESHOLD * (psutil.cpu_count() or 1)

    @property
    def text(self) -> str:
        """Return a description."""
        named = [f"{name} {share:.0%}" for name, share in sorted(self.named.items(), key=lambda item: -item[1])]
        stolen = [f"the hypervisor {self.stolen:.0%}"] if self.stolen > THRESHOLD else []
        return ", ".join(named + stolen) or f"short-lived processes {self.others:.0%}"


class InterferenceMonitor:
    """Measure interference from construction to `read`."""

    def __init__(self) -> None:
        self._at = time.perf_counter()
        self._own = _own_s()
        self._busy, self._stolen = _busy_s()
        self._before = {process.pid: spent for process, spent in _others()}

    def read(self) -> Interference:
        """Return the interference since construction."""
        seconds = time.perf_counter() - self._at
        busy, stolen = _busy_s()
        own = _own_s()
        named: dict[str, float] = {}
        for process, spent in _others():
            share = (spent - self._before.get(process.pid, 0.0)) / seconds
            if share > THRESHOLD:
                with suppress(psutil.Error):
                    named[f"{process.name()} {process.pid}"] = share
        others = max(0.0, (busy - self._busy) - (own - self._own)) / seconds
        return Interference(named, others, (stolen - self._stolen) / seconds)


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _own_s() -> float:
    """Return the CPU time of this process and its descendants, those that have ended included, in seconds."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = ended.ru_utime + ended.ru_stime
    for process in _family():
        with suppress(psutil.Error):
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


def _busy_s() -> tuple[float, float]:
    """Return the busy seconds of all cores together, and the stolen ones."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system, times.steal


def _others() -> list[tuple[psutil.Process, float]]:
    """Return the processes that are not descendants of this one, each with its CPU time in seconds."""
    own = {process.pid for process in _family()}
    found = []
    for process in psutil.process_iter():
        if process.pid not in own:
            with suppress(psutil.Error):
                times = process.cpu_times()
                found.append((process, times.user + times.system))
    return found
