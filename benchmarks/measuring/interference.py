"""Who else was at work while something was measured."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

WORTH_MENTION = 0.05
"""Share of one core that another process must have taken to spoil a measurement."""


@dataclass(frozen=True)
class Intrusion:
    """What others took of the machine, in cores."""

    named: dict[str, float]
    """Processes that took more than a twentieth of a core and lived to the end, by name and id."""
    others: float
    """All that was neither ours nor idle."""
    stolen: float
    """What the hypervisor gave to other machines."""

    @property
    def spoils(self) -> bool:
        """Tell whether the measurement is not to be trusted."""
        return bool(self.named) or max(self.others, self.stolen) > WORTH_MENTION * (psutil.cpu_count() or 1)

    @property
    def text(self) -> str:
        """Return it in words."""
        named = [f"{name} {share:.0%}" for name, share in sorted(self.named.items(), key=lambda item: -item[1])]
        stolen = [f"the hypervisor {self.stolen:.0%}"] if self.stolen > WORTH_MENTION else []
        return ", ".join(named + stolen) or f"processes that came and went {self.others:.0%}"


class Watch:
    """Looks at the machine when it is made, and again when it is asked."""

    def __init__(self) -> None:
        self._at = time.perf_counter()
        self._own = _own_s()
        self._busy, self._stolen = _busy_s()
        self._before = {process.pid: spent for process, spent in _others()}

    def look(self) -> Intrusion:
        """Return what others took since."""
        seconds = time.perf_counter() - self._at
        busy, stolen = _busy_s()
        own = _own_s()
        named: dict[str, float] = {}
        for process, spent in _others():
            share = (spent - self._before.get(process.pid, 0.0)) / seconds
            if share > WORTH_MENTION:
                with suppress(psutil.Error):
                    named[f"{process.name()} {process.pid}"] = share
        others = max(0.0, (busy - self._busy) - (own - self._own)) / seconds
        return Intrusion(named, others, (stolen - self._stolen) / seconds)


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _own_s() -> float:
    """Return the CPU time of this process and all below it, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = ended.ru_utime + ended.ru_stime
    for process in _family():
        with suppress(psutil.Error):
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


def _busy_s() -> tuple[float, float]:
    """Return the seconds that all cores together worked, and those that they were withheld."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system, times.steal


def _others() -> list[tuple[psutil.Process, float]]:
    """Return the processes that are not below this one, each with its CPU time in seconds."""
    own = {process.pid for process in _family()}
    found = []
    for process in psutil.process_iter():
        if process.pid not in own:
            with suppress(psutil.Error):
                times = process.cpu_times()
                found.append((process, times.user + times.system))
    return found
