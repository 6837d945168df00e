"""An answer in one write: its head goes out together with the beginning of its body."""

from __future__ import annotations

import asyncio
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"


class ResponseTransport:
    """Stands between uvicorn and the transport of a connection, and keeps a head until the body follows.

    uvicorn writes one after the other, and each write would be a system call here and a wake-up of the caller. What is
    followed by nothing goes out in the next turn of the event loop. All else is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, take_s: float, linger_s: float) -> None:
        """Keep the transport.

        Args:
            transport: Of the connection.
            take_s: How long after the end of an answer a caller may still fetch it; then the connection is cut.
            linger_s: How long a connection that is to be closed still takes what it is receiving.
        """
        self.receiving = False
        """Whether a request has begun to come and has not come to its end."""
        self._transport = transport
        self._take_s = take_s
        self._linger_s = linger_s
        self._lingers = False
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Tell whether nothing is sent any more."""
        return self._lingers or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send, or keep what ends like a head; to a connection that is gone nothing."""
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
        """Close once all is sent, and what is being received is there, or when either takes too long.

        Where a connection is closed while something comes, the system resets it, and the caller loses the answer.
        """
        self._send_head()
        if not self.receiving or self.is_closing():
            self.finish()
            return
        self._lingers = True
        self._loop.call_later(self._linger_s, self.finish)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def finish(self) -> None:
        """Close, whatever is still to come."""
        if self._transport.is_closing():
            return
        self._send_head()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(self._take_s, self._transport.abort)

    def _send_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
