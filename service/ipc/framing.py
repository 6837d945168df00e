"""Read frames from a socket straight into the memory where they are used; `service.ipc.messages` has the format."""

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
"""Bytes above these at which the transport pauses writing: as many, so that one turn of the event loop sends what it
produced."""


class FrameProtocol(asyncio.BufferedProtocol):
    """One connection: heads of a fixed length, each followed by a body of the length that it names."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.paused = False
        """Whether the peer reads slower than it is sent to, so that what is sent now stays in this process."""
        self._head = bytearray(HEAD_BYTES)
        self._body: NDArray[np.uint8] | None = None
        self._filled = 0

    @abstractmethod
    def begin(self, head: bytearray) -> int:
        """Parse a head and return how many bytes follow.

        Raises:
            ValueError: It is not a head.
        """

    @abstractmethod
    def complete(self, body: NDArray[np.uint8]) -> None:
        """Handle the body behind the last head, `uint8 [bytes]`, whose ownership passes to this method."""

    def invalid(self, error: Exception) -> None:  # noqa: ARG002 -- for those who override it
        """Handle a head that is none: close the connection."""
        self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and set its buffers."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_WRITE_BUFFER)
        connected: socket.socket = transport.get_extra_info("socket")
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the protocol's name
        """Return where the next bytes are read into."""
        whole = memoryview(self._head) if self._body is None else self._body.data
        return whole[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Handle bytes that have been read."""
        self._filled += nbytes
        if self._body is None:
            if self._filled < HEAD_BYTES:
                return
            try:
                size = self.begin(self._head)
            except ValueError as error:
                self.invalid(error)
                return
            self._body, self._filled = np.empty(size, np.uint8), 0
        if self._filled == len(self._body):
            body, self._body, self._filled = self._body, None, 0
            self.complete(body)

    def pause_writing(self) -> None:
        """Record that the transport's buffer is full."""
        self.paused = True

    def resume_writing(self) -> None:
        """Record that the transport's buffer has room again."""
        self.paused = False

    def send(self, *parts: bytes | memoryview) -> None:
        """Send a frame, unless the connection is closed."""
        if self.transport and not self.transport.is_closing():
            self.transport.writelines(parts)

    def close(self) -> None:
        """Close the connection once what was sent has left."""
        if self.transport:
            self.transport.close()

    def abort(self) -> None:
        """Close the connection at once: a peer that is stuck never reads what was sent."""
        if self.transport:
            self.transport.abort()
