"""Keep Ctrl-C from getting lost: C++ code that calls Python may swallow or replace the exception."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Context manager that ends with `KeyboardInterrupt` if Ctrl-C was pressed within it."""

    def __init__(self) -> None:
        self._seen = False
        self._previous = signal.getsignal(signal.SIGINT)
        # Only the main thread can handle signals; a process that ignores SIGINT continues to ignore it.
        self._active = threading.current_thread() is threading.main_thread() and callable(self._previous)

    def __enter__(self) -> Self:
        if self._active:
            signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._previous)
        if not isinstance(error, KeyboardInterrupt):
            self.check()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed within the context."""
        if self._seen:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- the signature of handlers
        self._seen = True
        raise KeyboardInterrupt
