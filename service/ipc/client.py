"""The edge's end of the connection: requests to the runner, and what the runner serves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.errors import DeadlineExceededError, NotReadyError, RunnerLostError, ServiceError
from service.core.result import Result
from service.core.serving_state import BatchingState, RunnerState
from service.ipc import messages
from service.ipc.framing import FrameProtocol
from service.ipc.messages import FrameAddress, InferenceRequest, ResponseHead

CONNECT_TIMEOUT_S = 2.0

TIMEOUT_S = 5.0
"""How long a runner may send neither a heartbeat nor its state; also how long a response to BATCHING may take."""

_CHECK_S = 0.25
"""Time between two checks for a heartbeat. Checks are counted rather than seconds, so that an edge that is held up
itself does not take the runner for silent."""

MAX_UNSENT_BYTES = 256 * 2**20
"""Pixels that wait until the runner reads on; those of one request come on top. A queue of the default size, which
`QUEUE_MAX_MIB` bounds, would not take more of them either. A healthy runner reads as much within half a second."""

SILENT = "runner_silent"
"""The reason of the error of a connection on which nothing is received."""

_AWAY = "the runner does not answer ({}); it may be starting again"

_CREDENTIALS = struct.Struct("3i")
"""`struct ucred` of Linux: process, user, group."""


async def connect(address: FrameAddress, changed: Callable[[Connection], None]) -> Connection:
    """Open a connection to the runner; its state is not known yet.

    Args:
        address: Where the runner listens.
        changed: Called with the connection when its state changes: on every STATE, and when it ends.

    Raises:
        RunnerLostError: The runner is away.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if address.path is not None:
                _, connection = await loop.create_unix_connection(lambda: Connection(changed), address.path)
            else:
                _, connection = await loop.create_connection(lambda: Connection(changed), address.host, address.port)
    except (OSError, TimeoutError) as error:
        raise RunnerLostError(_AWAY.format(type(error).__name__)) from error
    return connection


class Connection(FrameProtocol):
    """One connection, its requests in progress, and the runner's state.

    A request is handed to the transport only when the runner has read what was sent before: what the transport holds
    cannot be taken back, and would stay when its client has long gone.
    """

    def __init__(self, changed: Callable[[Connection], None]) -> None:
        super().__init__()
        self.state: RunnerState | None = None
        """What the runner serves; None until it has said so, and once no more requests can be sent."""
        self.signs_of_life = 0
        """Heartbeats and states that were received."""
        self._changed = changed
        self._ended: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._unsent: dict[int, InferenceRequest] = {}
        """Requests that wait until the runner reads on, in their order."""
        self._unsent_bytes = 0
        self._response: ResponseHead | None = None
        self._process: int | None = None
        """Handle of the runner's process, which never comes to mean another one with the same number."""

    @property
    def error(self) -> ServiceError | None:
        """Return why no more requests can be sent, or None while they can."""
        return self._ended.result() if self._ended.done() else None

    def number(self) -> int:
        """Return a number for the next request."""
        return next(self._numbers)

    async def infer(self, request: InferenceRequest, timeout_s: float) -> Result:
        """Send a request, as soon as the runner reads, and wait for its scores; cancelling the call cancels it.

        Raises:
            ServiceError: The runner's error, as the class that it has there.
            RunnerLostError: The connection was lost.
            NotReadyError: There is no response within `timeout_s`, or the runner does not read what was sent before.
        """
        self._check_open()
        if self._unsent_bytes >= MAX_UNSENT_BYTES:
            raise NotReadyError(f"the runner does not read: {self._unsent_bytes} bytes of pixels wait to be sent to it")
        self._unsent[request.number] = request
        self._unsent_bytes += request.pixels.nbytes
        self._send_unsent()
        result: Result = await self._response_to(request.number, timeout_s, NotReadyError(_AWAY.format("silent")))
        return result

    async def reload(self, timeout_s: float) -> None:
        """Have the runner read the labels now; its state is up to date afterwards.

        Raises:
            ReloadFailedError: A version that a label points to cannot be served.
            NotReadyError: The store, or the runner, does not answer.
            DeadlineExceededError: It is not done within `timeout_s`; the runner goes on with it.
        """
        late = f"not done within {timeout_s * 1000:.0f} ms, and continuing; the status shows the progress"
        await self._control(messages.RELOAD, timeout_s, DeadlineExceededError(late))

    async def batching(self) -> BatchingState:
        """Return the state of the runner's batcher.

        Raises:
            ServiceError: As `infer`.
        """
        return BatchingState.model_validate_json(
            await self._control(messages.BATCHING, TIMEOUT_S, NotReadyError(_AWAY.format("silent")))
        )

    async def wait_ended(self) -> ServiceError:
        """Wait until no more requests can be sent, or nothing was received for `TIMEOUT_S`.

        Returns:
            Why; the reason of the error is `SILENT` in the second case.
        """
        missed, seen = 0, self.signs_of_life
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=_CHECK_S)
            missed, seen = (missed + 1 if seen == self.signs_of_life else 0), self.signs_of_life
            if missed * _CHECK_S >= TIMEOUT_S:
                return NotReadyError("the runner does not answer (silent); it may be stuck", reason=SILENT)
        return self._ended.result()

    def kill_runner(self) -> bool:
        """End the runner's process at once, where it is on this machine; return whether there was one to end."""
        if self._process is None:
            return False
        try:
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        except OSError:  # It has ended by itself.
            return False
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open a handle of the process that listens."""
        super().connection_made(transport)
        self._process = _open_peer(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the protocol's name
        """Fail the requests in progress."""
        self._unsent.clear()
        for number in tuple(self._waiting):
            self._fail(number, RunnerLostError(_AWAY.format("connection lost")))
        if self._process is not None:
            os.close(self._process)
            self._process = None
        self._end(RunnerLostError(_AWAY.format("connection lost")))

    def resume_writing(self) -> None:
        """Send the requests that have waited for this."""
        super().resume_writing()
        self._send_unsent()

    def begin(self, head: bytearray) -> int:
        """Parse the head of a frame."""
        self._response = ResponseHead.parse(head)
        return self._response.body_bytes

    def complete(self, body: NDArray[np.uint8]) -> None:
        """Pass a response to its request."""
        head, self._response = self._response, None
        assert head is not None
        future = self._waiting.get(head.number)
        if future is None or future.done():
            if head.number == 0:
                self._notice(head, body)
            return
        try:
            result = head.read(body)
        except (ValueError, KeyError, TypeError) as error:
            self.invalid(error)
            return
        del self._waiting[head.number]
        if isinstance(result, ServiceError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def invalid(self, error: Exception) -> None:
        """Close the connection to a runner of another release."""
        self._end(
            ServiceError(
                f"the runner said what this release does not understand ({error}); "
                "edge and runner must be of the same release"
            )
        )
        self.abort()

    def _notice(self, head: ResponseHead, body: NDArray[np.uint8]) -> None:
        """Handle a frame that responds to no request."""
        if head.kind == messages.GOAWAY:
            self._end(RunnerLostError("the runner is shutting down"))
            return
        self.signs_of_life += 1
        if head.kind == messages.STATE and not self._ended.done():
            try:
                self.state = head.read(body)
            except ValueError as error:
                self.invalid(error)
            else:
                self._changed(self)

    def _end(self, error: ServiceError) -> None:
        if not self._ended.done():
            self.state = None
            self._ended.set_result(error)
            self._changed(self)

    def _check_open(self) -> None:
        if self.error:
            raise RunnerLostError(str(self.error))

    async def _control(self, kind: int, timeout_s: float, late: ServiceError) -> bytes:
        self._check_open()
        number = self.number()
        self.send(messages.control_frame(kind, number))
        body: bytes = await self._response_to(number, timeout_s, late)
        return body

    async def _response_to(self, number: int, timeout_s: float, late: ServiceError) -> Any:
        loop = asyncio.get_running_loop()
        future = self._waiting[number] = loop.create_future()
        timer = loop.call_later(timeout_s, self._fail, number, late)
        try:
            return await future
        finally:
            timer.cancel()
            if self._waiting.pop(number, None) and not self._withdraw(number):
                self.send(messages.control_frame(messages.CANCEL, number))  # It was sent, and has no response yet.

    def _send_unsent(self) -> None:
        while self._unsent and not self.paused:
            number, request = next(iter(self._unsent.items()))
            self._withdraw(number)
            self.send(request.head(), request.body())

    def _withdraw(self, number: int) -> bool:
        """Remove a request from those that wait to be sent; return whether it was there."""
        request = self._unsent.pop(number, None)
        if request is None:
            return False
        self._unsent_bytes -= request.pixels.nbytes
        return True

    def _fail(self, number: int, error: ServiceError) -> None:
        future = self._waiting.get(number)
        if future and not future.done():
            future.set_exception(error)


def _open_peer(connected: socket.socket) -> int | None:
    """Return a handle of the process that listens at a Unix socket; None where it is elsewhere, or this process."""
    if sys.platform != "linux" or connected.family != socket.AF_UNIX:
        return None
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(credentials)
    if pid != os.getpid():
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None
