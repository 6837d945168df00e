"""Ctrl-C that is not lost: code in C++ that calls Python may swallow the exception, or make another one of it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Remembers a Ctrl-C within a block, and sees to it that the block ends with `KeyboardInterrupt` after one."""

    def __init__(self) -> None:
        self._seen = False
        self._before = signal.getsignal(signal.SIGINT)
        # Only the main thread hears signals; and who has been told to ignore Ctrl-C goes on doing so.
        self._listens = threading.current_thread() is threading.main_thread() and callable(self._before)

    def __enter__(self) -> Self:
        if self._listens:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, self._before)
        if not isinstance(error, KeyboardInterrupt):
            self.check()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if there was a Ctrl-C since the block began."""
        if self._seen:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- what a handler is given
        self._seen = True
        raise KeyboardInterrupt
