"""Adjust BentoML's supervisor, circus, and how the processes that it starts depend on it.

`bentoml serve` runs circus, which looks after its processes every 10 s only: a crashed runner would be missed for that
long. While it stops, it keeps the edge's listening socket open until all processes have ended: clients that connect
meanwhile reach nobody, and are cut off at the end. A signal to stop that arrives while it starts a process is lost.
There are no settings for these. This is the only place that reaches into circus; `test_supervisor.py` fails when a
release moves what is used here.
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

_CHECK_INTERVAL_S = 0.25

_STOP_RETRY_S = 0.01

_PR_SET_PDEATHSIG = 1
"""The number of the option, from Linux' prctl.h."""


def patch_supervisor() -> None:
    """Make the supervisor that this process is about to start check its processes four times a second, and stop.

    On a signal to stop it closes its listening sockets at once, and retries where it starts or stops a process at that
    moment.
    """
    from circus.arbiter import Arbiter  # type: ignore[import-untyped]  # Only the supervisor needs it.
    from circus.exc import ConflictError  # type: ignore[import-untyped]

    original_init, original_manage, original_stop = Arbiter.__init__, Arbiter.manage_watchers, Arbiter.stop

    def init(arbiter: Any, *args: Any, **kwargs: Any) -> None:
        original_init(arbiter, *args, **{**kwargs, "check_delay": _CHECK_INTERVAL_S})

    def manage_watchers(arbiter: Any) -> Any:
        try:
            return original_manage(arbiter)
        except ConflictError:  # It starts or stops processes at this moment.
            return None

    def stop(arbiter: Any) -> Any:
        try:
            stopping = original_stop(arbiter)
        except ConflictError:
            if not arbiter._stopping:
                arbiter.loop.call_later(_STOP_RETRY_S, stop, arbiter)
            return None
        arbiter.sockets.close_all()
        return stopping

    Arbiter.__init__, Arbiter.manage_watchers, Arbiter.stop = init, manage_watchers, stop


def close_inherited_listeners() -> None:
    """Close the TCP listeners that this process inherited and does not serve; clients would connect to nobody.

    The supervisor passes the sockets of all its processes to each of them. A runner beside an edge is reached through
    Unix sockets only.
    """
    if sys.platform != "linux":
        return
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as inherited:
            listens = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and inherited.family in (socket.AF_INET, socket.AF_INET6):
                os.close(number)


def end_with_supervisor() -> None:
    """Have the kernel send SIGTERM to this process when its parent ends, even if that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
