"""Ends a process that is stuck, so that BentoML starts another: no code can stop a thread that hangs in an engine."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
from collections.abc import Callable

log = logging.getLogger("bentoml.runner")

_PAUSE_S = 0.5

_SILENT_S = 30.0
"""How long the event loop may do nothing; importing TensorFlow from a slow disk holds it for seconds."""

_EXIT_STATUS = 70
"""sysexits.h: an internal software error."""


class Watchdog:
    """Looks after this process from inside."""

    def __init__(self, stuck: Callable[[], str | None]) -> None:
        """Keep the function that returns why the process cannot continue, or None."""
        self._stuck = stuck

    async def run(self) -> None:
        """Watch until cancelled; where the event loop itself stands still, a timer outside of Python acts."""
        try:
            while True:
                if reason := self._stuck():
                    log.critical("%s; this process ends, another takes its place", reason)
                    faulthandler.dump_traceback(sys.__stderr__ or 2)
                    logging.shutdown()
                    os._exit(_EXIT_STATUS)
                faulthandler.dump_traceback_later(_SILENT_S, exit=True, file=sys.__stderr__ or 2)
                await asyncio.sleep(_PAUSE_S)
        finally:
            faulthandler.cancel_dump_traceback_later()
