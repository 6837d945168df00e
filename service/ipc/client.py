"""The edge's end of the frames: one connection to the runner, made anew when it is lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from itertools import count

import numpy as np
from numpy.typing import NDArray

from service.core.errors import NotReadyError, RunnerLostError, ServiceError
from service.core.result import Result
from service.ipc.framing import FrameProtocol
from service.ipc.messages import FrameAddress, InferenceRequest, ResponseHead
from service.ipc.peer import Peer

_CONNECT_TIMEOUT_S = 2.0

MAX_UNSENT_BYTES = 256 * 2**20
"""Pixels that wait until the runner reads on; those of one request come on top. A queue of the default size, which
`QUEUE_MAX_MIB` bounds, would not take more of them either. A runner that is well reads so much within half a second."""

_AWAY = "the runner does not answer ({}); it may be starting again"


class FrameClient:
    """Asks a runner."""

    def __init__(self, address: FrameAddress, lost: Callable[[], None]) -> None:
        """Keep where the runner is, and who is told when a connection to it is lost."""
        self._address = address
        self._lost = lost
        self._numbers = count(1)
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self.peer: Peer | None = None
        """The process of the runner of the last connection."""

    @property
    def connected(self) -> bool:
        """Tell whether the connection is there, as it is until the runner has answered its last question."""
        return self._connection is not None and not self._connection.lost

    def number(self) -> int:
        """Return a number for the next question."""
        return next(self._numbers)

    async def ask(self, request: InferenceRequest, timeout_s: float) -> Result:
        """Send a question and wait for its answer; cancelling the call gives it up.

        Raises:
            ServiceError: Whatever the runner met, as the class that it was there.
            RunnerLostError: The runner is away, or went away.
            NotReadyError: It is silent for longer than `timeout_s`, or does not read what it was sent before.
        """
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self.connect(timeout_s)
        return await connection.ask(request, timeout_s)

    def close(self) -> None:
        """Close the connection at once; who still waits is told that the runner is lost."""
        if self._connection:
            self._connection.abort()

    async def connect(self, timeout_s: float) -> _Connection:
        """Open the connection unless it is open; all who want it wait for one attempt.

        Raises:
            RunnerLostError: The runner is away.
        """
        if self._connection and not self._connection.lost:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # Perhaps nobody waits.
        try:
            return await asyncio.wait_for(asyncio.shield(self._connecting), min(timeout_s, _CONNECT_TIMEOUT_S))
        except (OSError, TimeoutError) as error:
            raise RunnerLostError(_AWAY.format(type(error).__name__)) from error

    async def _open(self) -> _Connection:
        loop, address = asyncio.get_running_loop(), self._address

        def connection() -> _Connection:
            return _Connection(self._lost)

        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            if address.path is not None:
                _, self._connection = await loop.create_unix_connection(connection, address.path)
            else:
                _, self._connection = await loop.create_connection(connection, address.host, address.port)
        if self.peer:
            self.peer.close()
        self.peer = self._connection.peer()
        return self._connection


class _Connection(FrameProtocol):
    """One connection, and who waits for what on it.

    A question is handed to the transport only when the runner has read what was sent before: what the transport holds
    cannot be taken back, and would stay when its caller has long gone.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self.lost = False
        self._told = told
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._unsent: dict[int, InferenceRequest] = {}
        """Questions that wait until the runner reads on, in their order."""
        self._unsent_bytes = 0
        self._answer: ResponseHead | None = None

    def peer(self) -> Peer:
        """Return the process at the other end."""
        assert self.transport is not None
        connected: socket.socket = self.transport.get_extra_info("socket")
        return Peer(connected)

    async def ask(self, request: InferenceRequest, timeout_s: float) -> Result:
        """Send a question, as soon as the runner reads, and wait for its answer."""
        if self._unsent_bytes >= MAX_UNSENT_BYTES:
            raise NotReadyError(f"the runner does not read: {self._unsent_bytes} bytes of pixels wait to be sent to it")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting[request.number] = future
        alarm = loop.call_later(timeout_s, self._fail, request.number, NotReadyError(_AWAY.format("silent")))
        self._unsent[request.number] = request
        self._unsent_bytes += request.pixels.nbytes
        self._send_on()
        try:
            return await future
        finally:
            alarm.cancel()
            if self._waiting.pop(request.number, None) and not self._withdraw(request):
                self.send(InferenceRequest.cancel(request.number))  # Nobody waits any more, and no answer has come.

    def resume_writing(self) -> None:
        """Send what has waited for this."""
        super().resume_writing()
        self._send_on()

    def _send_on(self) -> None:
        while self._unsent and not self.paused:
            request = next(iter(self._unsent.values()))
            self._withdraw(request)
            self.send(request.head(), request.body())

    def _withdraw(self, request: InferenceRequest) -> bool:
        """Take a question out of those that wait to be sent; tell whether it was there."""
        if self._unsent.pop(request.number, None) is None:
            return False
        self._unsent_bytes -= request.pixels.nbytes
        return True

    def begin(self, head: bytearray) -> int:
        """Read the head of an answer."""
        self._answer = ResponseHead.parse(head)
        return self._answer.body_bytes

    def complete(self, body: NDArray[np.uint8]) -> None:
        """Hand an answer to who waits for it."""
        answer, self._answer = self._answer, None
        assert answer is not None
        future = self._waiting.get(answer.number)
        if future is None or future.done():
            return
        try:
            result = answer.read(body)
        except (ValueError, KeyError, TypeError):  # A runner of another release; its next one may be understood.
            self.abort()
            return
        del self._waiting[answer.number]
        if isinstance(result, ServiceError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the protocol's name
        """Tell who waits."""
        self.lost = True
        self._unsent.clear()
        for number in tuple(self._waiting):
            self._fail(number, RunnerLostError(_AWAY.format("connection lost")))
        self._told()

    def _fail(self, number: int, error: NotReadyError) -> None:
        future = self._waiting.get(number)
        if future and not future.done():
            future.set_exception(error)
