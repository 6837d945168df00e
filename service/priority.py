"""Who gives way to whom on the cores: work to the event loops, so that a refusal need not wait for a batch."""

from __future__ import annotations

import os
import sys
import threading

WORK = 5
"""Decoding and inference: a third of the share of a thread at 0 where both want the same core, else all of it."""

BACKGROUND = 10
"""What nobody waits for: a tenth."""


def give_way(niceness: int) -> None:
    """Lower the claim of this thread, and of those that it starts; nobody without privileges takes that back.

    Linux only: there each thread has a niceness of its own.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
