"""How many connections this process may hold, and how it takes them; `connection.py` has what one of them may do."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_AT_ONCE = 64
"""Connections that are taken in one turn of the event loop, so that those who are here already are not forgotten."""

_AT_ONCE_OF_MANY = 8
"""The same where several processes take from one port: a busy one is not to take what an idle one could."""

_GOODBYE_S = 2.0


def raise_open_file_limit() -> None:
    """Raise the limit of open files to what this process may ask for; shells often start it with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tune_listener(processes: int = 1) -> None:
    """Have servers that are opened from now on take all callers that wait, and let them go soon.

    uvloop takes one connection in each turn of its loop (as libuv does since 1.45). A turn is long when many ask at
    once, and that is when many come: they would wait for seconds before anybody could refuse them.

    At the end of a TLS connection callers have 2 s to confirm it. Those with idle connections often do not; the event
    loop would wait for 30 s, and hold up a stop until it is killed. uvicorn has no setting for it.

    Args:
        processes: How many take from the same port.
    """
    at_once = _AT_ONCE if processes == 1 else _AT_ONCE_OF_MANY
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    def create(protocol: Callable[[], asyncio.BaseProtocol], *arguments: Any, **options: Any) -> Any:
        tls = {"ssl": options["ssl"], "ssl_shutdown_timeout": _GOODBYE_S} if options.get("ssl") else {}
        if (listener := options.get("sock")) is not None:
            protocol = _AcceptLoop(protocol, listener, tls, at_once).accept
        return create_server(protocol, *arguments, **{**options, **tls})

    loop.create_server = create  # type: ignore[method-assign,assignment]


class _AcceptLoop:
    """Takes the callers who wait behind one whom the event loop has taken."""

    def __init__(
        self, protocol: Callable[[], asyncio.BaseProtocol], listener: socket.socket, tls: dict[str, Any], at_once: int
    ) -> None:
        self._protocol = protocol
        self._listener = listener
        self._tls = tls
        self._at_once = at_once
        self._handling: set[asyncio.Task[None]] = set()

    def accept(self) -> asyncio.BaseProtocol:
        """Return the protocol for a new connection, as a server asks for it; take those that wait, too."""
        with suppress(OSError):  # Nobody waits, or there are no descriptors left; then the loop's own way meets it.
            for _ in range(self._at_once - 1):
                connection, _ = self._listener.accept()
                welcome = asyncio.get_running_loop().create_task(self._handle(connection))
                self._handling.add(welcome)
                welcome.add_done_callback(self._handling.discard)
        return self._protocol()

    async def _handle(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except OSError:  # It is gone already, or speaks no TLS.
            connection.close()
            return
        if self._listener.fileno() < 0:  # The server was closed meanwhile, and has said goodbye to all it knew of.
            transport.close()
