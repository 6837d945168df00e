"""Who gives way to whom on the cores: work to the event loops, so that a refusal need not wait for a batch."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

WORK = 10
"""Decoding and inference: a tenth of the share of a thread at 0 where both want the same core, else all of it."""

BACKGROUND = 15
"""What nobody waits for: a third of that."""


def give_way(niceness: int) -> None:
    """Lower the claim of this thread, and of those that it starts; nobody without privileges takes that back.

    Linux only: there each thread has a niceness of its own. A thread that is as nice already, as in a service that was
    started with `nice`, stays as it is. Where the system forbids it the work is done all the same.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, thread) < niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)
