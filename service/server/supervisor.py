"""What BentoML's supervisor does for the processes that it starts, and they for it.

`bentoml serve` has circus look after its processes, and has it look every 10 s only. A runner that crashed would be
missed for that long. When it stops it keeps the socket that it opened for the edge until all have stopped: callers who
come meanwhile would be connected to nobody, and be cut off at the end. Told to stop while it starts a process, it
forgets that. There are no settings for any of these; this is the only place that reaches into that supervisor.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_EVERY_S = 0.25

_AGAIN_S = 0.01

_PR_SET_PDEATHSIG = 1
"""The number of the option, from Linux' prctl.h."""


def patch_supervisor() -> None:
    """Make the supervisor that this process is about to start look four times a second, and stop when it is told to.

    It then stops listening at once; where it is starting or stopping a process at that moment, as soon as that is done.
    """
    from circus.arbiter import Arbiter  # type: ignore[import-untyped]  # Only the supervisor needs it.
    from circus.exc import ConflictError  # type: ignore[import-untyped]

    start, look, stop = Arbiter.__init__, Arbiter.manage_watchers, Arbiter.stop

    def start_looking(arbiter: Any, *args: Any, **kwargs: Any) -> None:
        start(arbiter, *args, **{**kwargs, "check_delay": _EVERY_S})

    def look_unless_busy(arbiter: Any) -> Any:
        try:
            return look(arbiter)
        except ConflictError:  # It starts or stops processes at this moment.
            return None

    def stop_in_its_turn(arbiter: Any) -> Any:
        try:
            stopping = stop(arbiter)
        except ConflictError:
            if not arbiter._stopping:
                arbiter.loop.call_later(_AGAIN_S, stop_in_its_turn, arbiter)
            return None
        arbiter.sockets.close_all()
        return stopping

    Arbiter.__init__, Arbiter.manage_watchers, Arbiter.stop = start_looking, look_unless_busy, stop_in_its_turn


def close_inherited_listeners() -> None:
    """Close the ports that this process was handed and does not serve; held open they would connect callers to nobody.

    The supervisor hands the sockets of all its processes to each of them. A runner that it has started beside an edge
    is asked through Unix sockets alone.
    """
    if sys.platform != "linux":
        return
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as held:
            listens = held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and held.family in (socket.AF_INET, socket.AF_INET6):
                os.close(number)


def end_with_supervisor() -> None:
    """Have the system tell this process to stop when its parent is gone, killed perhaps: nobody else would."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
