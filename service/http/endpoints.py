"""ASGI applications at the end of a route: call an endpoint, turn its error into a response, send it.

A route calls them without Starlette's wrappers in between. They note the outcome in the request's record; the record
is finished in one place, `service.http.middleware.RequestMiddleware`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.http.responses import InferenceResponse, error_response
from service.http.scope import record_of


class JsonEndpoint:
    """Sends the response of an endpoint, or its error as one."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            response = await self._endpoint(Request(scope, receive))
        except Exception as error:
            response = error_response(error, scope)
        await response(scope, receive, send)


class InferenceEndpoint:
    """Sends the response of an inference endpoint with its timings, or its error; counted by its route."""

    def __init__(self, route: str, endpoint: Callable[[Request], Awaitable[InferenceResponse]]) -> None:
        """Keep the endpoint, and its name in metrics and traces."""
        self._route = route
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        record = record_of(scope)
        record.route = self._route
        response: Response
        try:
            result = await self._endpoint(Request(scope, receive))
            record.inference = result.inference
            response = result.response()
        except Exception as error:
            response = error_response(error, scope)
        await response(scope, receive, send)
