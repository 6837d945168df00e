"""The edge's end of the frames: one connection to the runner, made anew when it is lost."""

from __future__ import annotations

import asyncio
from itertools import count

import numpy as np
from numpy.typing import NDArray

from .entry import Result
from .errors import NotReadyError, ServiceError
from .frames import FrameProtocol
from .wire import AnswerHead, FrameAddress, Question

_CONNECT_TIMEOUT_S = 2.0

_AWAY = "the runner does not answer ({}); it may be starting again"


class FrameClient:
    """Asks a runner."""

    def __init__(self, address: FrameAddress) -> None:
        self._address = address
        self._numbers = count(1)
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    def number(self) -> int:
        """Return a number for the next question."""
        return next(self._numbers)

    async def ask(self, question: Question, timeout_s: float) -> Result:
        """Send a question and wait for its answer; cancelling the call gives it up.

        Raises:
            ServiceError: Whatever the runner met, as the class that it was there.
            NotReadyError: The runner is away, or silent for longer than `timeout_s`.
        """
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connect()
        return await connection.ask(question, timeout_s)

    def close(self) -> None:
        """Close the connection; who still waits is told that the runner is away."""
        if self._connection:
            self._connection.close()

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection and not self._connection.lost:
                return self._connection
            loop, address = asyncio.get_running_loop(), self._address
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    if address.path is not None:
                        _, self._connection = await loop.create_unix_connection(_Connection, address.path)
                    else:
                        _, self._connection = await loop.create_connection(_Connection, address.host, address.port)
            except (OSError, TimeoutError) as error:
                raise NotReadyError(_AWAY.format(type(error).__name__)) from error
            return self._connection


class _Connection(FrameProtocol):
    """One connection, and who waits for what on it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = False
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._answer: AnswerHead | None = None

    async def ask(self, question: Question, timeout_s: float) -> Result:
        """Send a question and wait for its answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting[question.number] = future
        alarm = loop.call_later(timeout_s, self._fail, question.number, "silent")
        self.send(question.head(), question.body())
        try:
            return await future
        finally:
            alarm.cancel()
            if self._waiting.pop(question.number, None):  # Nobody waits any more, and no answer has come.
                self.send(Question.give_up(question.number))

    def begin(self, head: bytearray) -> int:
        """Read the head of an answer."""
        self._answer = AnswerHead.parse(head)
        return self._answer.body_bytes

    def complete(self, body: NDArray[np.uint8]) -> None:
        """Hand an answer to who waits for it."""
        answer, self._answer = self._answer, None
        assert answer is not None
        future = self._waiting.pop(answer.number, None)
        if future is None or future.done():
            return
        result = answer.read(body)
        if isinstance(result, ServiceError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the protocol's name
        """Tell who waits."""
        self.lost = True
        for number in tuple(self._waiting):
            self._fail(number, "connection lost")

    def _fail(self, number: int, why: str) -> None:
        future = self._waiting.get(number)
        if future and not future.done():
            future.set_exception(NotReadyError(_AWAY.format(why)))
