"""Reading frames from a socket straight into the memory where they are used; `service.ipc.messages` has the format."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from typing import cast

import numpy as np
from numpy.typing import NDArray

from service.ipc.messages import HEAD_BYTES

_SOCKET_BUFFER = 2**20
"""Bytes that the kernel should hold for a connection: several images of 299 × 299."""

_WRITE_BUFFER = 2**20
"""Bytes beyond these for which the transport says that it holds enough: so many, too, that a turn of the event loop
sends all that came up in it."""


class FrameProtocol(asyncio.BufferedProtocol):
    """One connection: heads of a fixed length, each followed by as many bytes as it says."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.paused = False
        """Whether the peer takes less than it is sent, so that what is sent now stays in this process."""
        self._head = bytearray(HEAD_BYTES)
        self._body: NDArray[np.uint8] | None = None
        self._filled = 0

    @abstractmethod
    def begin(self, head: bytearray) -> int:
        """Read a head and return how many bytes follow.

        Raises:
            ValueError: It is not a head; the connection is closed.
        """

    @abstractmethod
    def complete(self, body: NDArray[np.uint8]) -> None:
        """Take what followed the last head, `uint8 [bytes]`; it is the caller's to keep."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_WRITE_BUFFER)
        connected: socket.socket = transport.get_extra_info("socket")
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the protocol's name
        """Return where the next bytes belong."""
        whole = memoryview(self._head) if self._body is None else self._body.data
        return whole[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take in bytes that have been read."""
        self._filled += nbytes
        if self._body is None:
            if self._filled < HEAD_BYTES:
                return
            try:
                size = self.begin(self._head)
            except ValueError:
                self.close()
                return
            self._body, self._filled = np.empty(size, np.uint8), 0
        if self._filled == len(self._body):
            body, self._body, self._filled = self._body, None, 0
            self.complete(body)

    def pause_writing(self) -> None:
        """Take note that the transport holds enough of what was sent."""
        self.paused = True

    def resume_writing(self) -> None:
        """Take note that nearly all of it has left."""
        self.paused = False

    def send(self, *parts: bytes | memoryview) -> None:
        """Send a frame, unless the connection is gone."""
        if self.transport and not self.transport.is_closing():
            self.transport.writelines(parts)

    def close(self) -> None:
        """Close the connection once what was sent has left."""
        if self.transport:
            self.transport.close()

    def abort(self) -> None:
        """Close the connection at once: a peer that is stuck never takes what was sent."""
        if self.transport:
            self.transport.abort()
