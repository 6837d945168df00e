"""The runner's end of the frames: questions to the batcher, its answers back."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.batching.queue_entry import QueuedRequest
from service.core.errors import InferenceError, RunnerLostError, ServiceError
from service.core.result import Result
from service.ipc.framing import FrameProtocol
from service.ipc.messages import FrameAddress, InferenceRequest, RequestHead, error_frame, scores_frame

log = logging.getLogger("bentoml.runner")

Enqueue = Callable[[InferenceRequest], QueuedRequest]
"""Queues a question, or raises a `ServiceError`."""


class FrameServer:
    """Listens for edges."""

    def __init__(self, enqueue: Enqueue, max_body_bytes: int) -> None:
        """Keep what answers, and the size of the largest question."""
        self._enqueue = enqueue
        self._max_body_bytes = max_body_bytes
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._deserted = asyncio.Event()
        self._address = FrameAddress(None)

    async def start(self, address: FrameAddress) -> None:
        """Listen, at a port on all interfaces; a socket that a killed runner left behind is taken over."""
        self._address = address
        loop = asyncio.get_running_loop()
        if address.path is not None:
            _remove(address.path)
            self._server = await loop.create_unix_server(self._connect, address.path)
        else:
            self._server = await loop.create_server(self._connect, None, address.port)

    async def drain(self, timeout_s: float) -> None:
        """Answer what was asked, and what edges beside this process still have to ask before they stop, too.

        Edges elsewhere do not stop with it: they are told to ask another runner, and their connections are closed.
        """
        if self._address.path is None:
            for connection in tuple(self._connections):
                connection.drain()
        if self._connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._deserted.wait(), timeout_s)

    async def stop(self) -> None:
        """Take no more questions; those that are answered have been sent."""
        if self._server:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        if self._address.path is not None:
            _remove(self._address.path)

    def _connect(self) -> _Connection:
        connection = _Connection(self._enqueue, self._max_body_bytes, self._leave)
        self._connections.add(connection)
        self._deserted.clear()
        return connection

    def _leave(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()


class _Connection(FrameProtocol):
    """One edge."""

    def __init__(self, enqueue: Enqueue, max_body_bytes: int, gone: Callable[[_Connection], None]) -> None:
        super().__init__()
        self._enqueue = enqueue
        self._max_body_bytes = max_body_bytes
        self._gone = gone
        self._entries: dict[int, QueuedRequest] = {}
        self._request: RequestHead | None = None
        self._draining = False

    def drain(self) -> None:
        """Take no more questions, and close the connection once all are answered."""
        self._draining = True
        if not self._entries:
            self.close()

    def begin(self, head: bytearray) -> int:
        """Read the head of a question, or one that gives a question up."""
        request = RequestHead.parse(head)
        self._request = request
        size = 0 if request.cancelled else math.prod(request.shape)
        if size > self._max_body_bytes:
            raise ValueError(f"a question of {size} bytes")
        return size

    def complete(self, body: NDArray[np.uint8]) -> None:
        """Queue a question."""
        head, self._request = self._request, None
        assert head is not None
        if head.cancelled:
            if entry := self._entries.pop(head.number, None):
                entry.cancel()
            return
        if self._draining:
            self._refuse(head.number, RunnerLostError("the runner is shutting down"))
            return
        try:
            entry = self._enqueue(head.with_pixels(body))
        except Exception as error:
            self._refuse(head.number, error)
            return
        self._entries[head.number] = entry
        entry.future.add_done_callback(partial(self._answer, head.number))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the protocol's name
        """Give up what the edge waited for."""
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            entry.cancel()
        self._gone(self)

    def _answer(self, number: int, future: asyncio.Future[Result]) -> None:
        self._entries.pop(number, None)
        if not future.cancelled():
            if error := future.exception():
                self._refuse(number, error)
            else:
                self.send(*scores_frame(number, future.result()))
        if self._draining and not self._entries:
            self.close()

    def _refuse(self, number: int, error: BaseException) -> None:
        if not isinstance(error, ServiceError):
            log.error("The runner failed", exc_info=error)
            error = InferenceError("the runner failed; its log says why")
        self.send(*error_frame(number, error))


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        Path(path).unlink()
