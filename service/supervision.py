"""What BentoML's supervisor does for the processes that it starts, and they for it.

`bentoml serve` has circus look after its processes, and has it look every 10 s only. A runner that crashed would be
missed for that long. BentoML has no setting for it; this is the only place that reaches into its supervisor.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

_EVERY_S = 0.25

_PR_SET_PDEATHSIG = 1
"""The number of the option, from Linux' prctl.h."""


def look_often() -> None:
    """Make the supervisor that this process is about to start look four times a second."""
    from circus.arbiter import Arbiter  # type: ignore[import-untyped]  # Only the supervisor needs it.
    from circus.exc import ConflictError  # type: ignore[import-untyped]

    start, look = Arbiter.__init__, Arbiter.manage_watchers

    def start_looking(arbiter: Any, *args: Any, **kwargs: Any) -> None:
        start(arbiter, *args, **{**kwargs, "check_delay": _EVERY_S})

    def look_unless_busy(arbiter: Any) -> Any:
        try:
            return look(arbiter)
        except ConflictError:  # It starts or stops processes at this moment.
            return None

    Arbiter.__init__, Arbiter.manage_watchers = start_looking, look_unless_busy


def end_with_supervisor() -> None:
    """Have the system tell this process to stop when its parent is gone, killed perhaps: nobody else would."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
