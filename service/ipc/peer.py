"""The process at the other end of a Unix socket, and how to end it when it is stuck."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from contextlib import suppress

_CREDENTIALS = struct.Struct("3i")
"""`struct ucred` of Linux: process, user, group."""


class Peer:
    """A handle of the very process that listened, which never comes to mean another one with the same number."""

    def __init__(self, connected: socket.socket) -> None:
        """Open the handle; it stays empty where the peer is on another machine, or the system has none."""
        self._handle: int | None = None
        if sys.platform == "linux" and connected.family == socket.AF_UNIX:
            credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, _, _ = _CREDENTIALS.unpack(credentials)
            if pid != os.getpid():
                with suppress(OSError):
                    self._handle = os.pidfd_open(pid)

    def kill(self) -> bool:
        """End the process at once; tell whether there was one to end."""
        if self._handle is None:
            return False
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except OSError:  # It has ended by itself.
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Give the handle back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
