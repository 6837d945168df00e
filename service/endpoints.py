"""What stands at the end of a route: calls an endpoint, turns its error into an answer, and sends and counts it.

These are ASGI applications of their own, so that a route calls them with nothing of Starlette's in between.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from . import metrics, tracing
from .answer import Answer, error_answer
from .inference import Inference


class Answering:
    """Sends the answers of an endpoint, or its errors as answers."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._endpoint(Request(scope, receive))
        except Exception as error:
            response = error_answer(error, scope)
        await response(scope, receive, send)


class Timed:
    """Sends the answers of an endpoint with their timings, or its errors as answers, and counts both."""

    def __init__(self, route: str, endpoint: Callable[[Request], Awaitable[Answer]]) -> None:
        """Keep what answers, and what it is called in metrics and traces."""
        self._route = route
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        response: Response
        done: Inference | None = None
        try:
            answer = await self._endpoint(Request(scope, receive))
            response, done = answer.response(), answer.done
        except Exception as error:
            response = error_answer(error, scope)
        self.tell(scope, response.status_code, started, done)
        await response(scope, receive, send)

    def tell(self, scope: Scope, status: int, started: float, done: Inference | None = None) -> None:
        """Count an answer, and make its spans.

        Args:
            scope: Of the request.
            status: Of the answer.
            started: When it began, by `time.perf_counter`.
            done: The scores and how they came about, where there are any.
        """
        tracing.record(scope, self._route, status, started, done)
        metrics.answered(self._route, status, time.perf_counter() - started)
