"""Accept connections: how many this process may hold, and how many it accepts in one turn of the event loop.

`protocol.py` has the limits of one connection. `tune_listener` replaces `create_server` of the running event loop;
`tests/service/server/test_listener.py` fails when uvicorn no longer calls it.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_ACCEPTS_PER_TURN = 64
"""Connections accepted in one turn of the event loop; a limit, so that those already open are served, too."""

_ACCEPTS_PER_TURN_SHARED = 8
"""The same where several processes accept from one port: a busy one must not take what an idle one could."""

_TLS_SHUTDOWN_TIMEOUT_S = 2.0


def raise_open_file_limit() -> None:
    """Raise the limit of open files to the hard limit; shells often start processes with 1,024."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def tune_listener(processes: int = 1) -> None:
    """Have servers started from now on accept all waiting connections in one turn, and close TLS ones soon.

    uvloop accepts one connection in each turn of its loop (as libuv does since 1.45). Turns are long when many requests
    are in flight, which is when many connections arrive: they would wait for seconds before they could be rejected.

    At the end of a TLS connection a client has 2 s to confirm. Clients with idle connections often do not; the event
    loop would wait for 30 s and delay a stop until the process is killed. uvicorn has no setting for it.

    Args:
        processes: Number of processes that accept from the same port.
    """
    limit = _ACCEPTS_PER_TURN if processes == 1 else _ACCEPTS_PER_TURN_SHARED
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    def create(protocol: Callable[[], asyncio.BaseProtocol], *arguments: Any, **options: Any) -> Any:
        tls = {"ssl": options["ssl"], "ssl_shutdown_timeout": _TLS_SHUTDOWN_TIMEOUT_S} if options.get("ssl") else {}
        if (listener := options.get("sock")) is not None:
            protocol = _AcceptLoop(protocol, listener, tls, limit).accept
        return create_server(protocol, *arguments, **{**options, **tls})

    loop.create_server = create  # type: ignore[method-assign,assignment]


class _AcceptLoop:
    """Accepts the connections that wait behind the one that the event loop has accepted."""

    def __init__(
        self, protocol: Callable[[], asyncio.BaseProtocol], listener: socket.socket, tls: dict[str, Any], limit: int
    ) -> None:
        self._protocol = protocol
        self._listener = listener
        self._tls = tls
        self._limit = limit
        self._connecting: set[asyncio.Task[None]] = set()

    def accept(self) -> asyncio.BaseProtocol:
        """Accept the waiting connections, and return the protocol for the one that a server asks for."""
        with suppress(OSError):  # None waits, or no descriptors are left; the event loop then handles that itself.
            for _ in range(self._limit - 1):
                connection, _ = self._listener.accept()
                task = asyncio.get_running_loop().create_task(self._connect(connection))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)
        return self._protocol()

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except OSError:  # The client is gone already, or does not speak TLS.
            connection.close()
            return
        if self._listener.fileno() < 0:  # The server was stopped meanwhile, and has closed the connections it knew.
            transport.close()
