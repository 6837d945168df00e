"""Write a response in one system call: its head is sent together with the beginning of its body."""

from __future__ import annotations

import asyncio
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"


class ResponseTransport:
    """Wraps the transport of a connection for uvicorn, and buffers a head until the body follows.

    uvicorn writes one after the other; each write would be a system call here and a wake-up of the client. A head
    without a body is sent in the next turn of the event loop. Everything else is delegated to the transport.
    """

    def __init__(self, transport: asyncio.Transport, write_timeout_s: float, linger_timeout_s: float) -> None:
        """Keep the transport.

        Args:
            transport: Of the connection.
            write_timeout_s: Time for which a client may leave the last response unread; then the connection is aborted.
            linger_timeout_s: Time for which a connection that is to be closed still reads the rest of a request.
        """
        self.receiving = False
        """Whether a request is being received."""
        self._transport = transport
        self._write_timeout_s = write_timeout_s
        self._linger_timeout_s = linger_timeout_s
        self._lingers = False
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether nothing is sent any more."""
        return self._lingers or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send data, or buffer it where it ends like a head; do nothing once the connection is closing."""
        if self.is_closing():
            return
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.endswith(_END_OF_HEAD):
            self._head = data
            self._loop.call_soon(self._send_head)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close once everything is sent, and the request being received is complete or timed out.

        If a socket with unread data is closed, the kernel resets the connection, and the client loses the response.
        """
        self._send_head()
        if not self.receiving or self.is_closing():
            self.finish()
            return
        self._lingers = True
        self._loop.call_later(self._linger_timeout_s, self.finish)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def finish(self) -> None:
        """Close, whatever is still being received."""
        if self._transport.is_closing():
            return
        self._send_head()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(self._write_timeout_s, self._transport.abort)

    def _send_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
