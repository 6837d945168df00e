"""The runner's end of the connections: requests from edges, their responses, and every change of state."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.batching.queued_request import QueuedRequest
from service.core.errors import InferenceError, RunnerLostError, ServiceError
from service.core.serving_state import BatchingState, RunnerState
from service.ipc import messages
from service.ipc.framing import FrameProtocol
from service.ipc.messages import FrameAddress, InferenceRequest, RequestHead

log = logging.getLogger("bentoml.runner")


class Backend(Protocol):
    """The runner behind the connections."""

    def enqueue(self, request: InferenceRequest) -> QueuedRequest:
        """Queue the pixels of one request, or raise a `ServiceError`."""
        ...

    async def reload(self) -> None:
        """Read the labels now, and return once they are followed, or raise a `ServiceError`."""
        ...

    def describe(self) -> RunnerState:
        """Return what is served."""
        ...

    def describe_batching(self) -> BatchingState:
        """Return the state of the batcher."""
        ...


class FrameServer:
    """Listens for edges."""

    def __init__(self, backend: Backend, max_body_bytes: int) -> None:
        """Keep the backend, and the size of the largest request."""
        self._backend = backend
        self._max_body_bytes = max_body_bytes
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._disconnected = asyncio.Event()
        self._heartbeat: asyncio.Task[None] | None = None
        self._address = FrameAddress(None)

    async def start(self, address: FrameAddress) -> None:
        """Listen, at a port on all interfaces; a socket that a killed runner left behind is replaced."""
        self._address = address
        loop = asyncio.get_running_loop()
        if address.path is not None:
            _remove(address.path)
            self._server = await loop.create_unix_server(self._connect, address.path)
        else:
            self._server = await loop.create_server(self._connect, None, address.port)
        self._heartbeat = asyncio.create_task(self._send_heartbeats())

    def publish_state(self) -> None:
        """Send the state to all edges; call it on every change, before a response that follows from the change."""
        if self._connections:
            frame = messages.state_frame(self._backend.describe())
            for connection in self._connections:
                connection.send(*frame)

    async def drain(self, timeout_s: float) -> None:
        """Complete the requests in progress, and those that edges beside this process send before they stop, too.

        Edges elsewhere do not stop with it: they are told to connect to another runner.
        """
        if self._server and self._address.path is None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.drain()
        if self._connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._disconnected.wait(), timeout_s)

    async def stop(self) -> None:
        """Stop listening, and close the connections; responses in their buffers are sent before."""
        if self._heartbeat:
            self._heartbeat.cancel()
        if self._server:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        if self._address.path is not None:
            _remove(self._address.path)

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(messages.HEARTBEAT_S)
            for connection in self._connections:
                if not connection.paused:
                    connection.send(messages.HEARTBEAT_FRAME)

    def _connect(self) -> _Connection:
        connection = _Connection(self._backend, self._max_body_bytes, self._disconnect)
        self._connections.add(connection)
        self._disconnected.clear()
        return connection

    def _disconnect(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._disconnected.set()


class _Connection(FrameProtocol):
    """One edge."""

    def __init__(self, backend: Backend, max_body_bytes: int, lost: Callable[[_Connection], None]) -> None:
        super().__init__()
        self._backend = backend
        self._max_body_bytes = max_body_bytes
        self._lost = lost
        self._pending: dict[int, QueuedRequest | asyncio.Task[None]] = {}
        """Requests in progress, by number."""
        self._request: RequestHead | None = None
        self._draining = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the state."""
        super().connection_made(transport)
        self.send(*messages.state_frame(self._backend.describe()))

    def drain(self) -> None:
        """Reject new requests, and close the connection once those in progress are completed."""
        self._draining = True
        self.send(messages.GOAWAY_FRAME)
        if not self._pending:
            self.close()

    def begin(self, head: bytearray) -> int:
        """Parse the head of a frame."""
        request = RequestHead.parse(head)
        self._request = request
        size = math.prod(request.shape)  # 0 where it carries no pixels.
        if size > self._max_body_bytes:
            raise ValueError(f"a request of {size} bytes")
        return size

    def complete(self, body: NDArray[np.uint8]) -> None:
        """Start a request, or cancel one."""
        head, self._request = self._request, None
        assert head is not None
        if head.kind == messages.CANCEL:
            if pending := self._pending.pop(head.number, None):
                pending.cancel()
            return
        if self._draining:
            self._fail(head.number, RunnerLostError("the runner is shutting down"))
            return
        try:
            self._start(head, body)
        except Exception as error:
            self._fail(head.number, error)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the protocol's name
        """Cancel the edge's requests."""
        pending, self._pending = self._pending, {}
        for request in pending.values():
            request.cancel()
        self._lost(self)

    def _start(self, head: RequestHead, body: NDArray[np.uint8]) -> None:
        number = head.number
        if head.kind == messages.INFER:
            entry = self._backend.enqueue(head.with_pixels(body))
            self._pending[number] = entry
            entry.future.add_done_callback(partial(self._respond, messages.scores_frame, number))
        elif head.kind == messages.RELOAD:
            reload = asyncio.ensure_future(self._backend.reload())
            self._pending[number] = reload
            reload.add_done_callback(partial(self._respond, messages.done_frame, number))
        else:
            self.send(*messages.done_frame(number, self._backend.describe_batching()))

    def _respond(
        self, frame: Callable[[int, Any], tuple[bytes, Any]], number: int, future: asyncio.Future[Any]
    ) -> None:
        self._pending.pop(number, None)
        if not future.cancelled():
            if error := future.exception():
                self._fail(number, error)
            else:
                self.send(*frame(number, future.result()))
        if self._draining and not self._pending:
            self.close()

    def _fail(self, number: int, error: BaseException) -> None:
        if not isinstance(error, ServiceError):
            log.error("The runner failed", exc_info=error)
            error = InferenceError("the runner failed; its log says why")
        self.send(*messages.error_frame(number, error))


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        Path(path).unlink()
