"""The door: nobody comes in without a key, where keys are asked for."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .answer import error_answer
from .callers import Callers
from .errors import AccessDeniedError

_OPEN = re.compile(r"/|/docs\.json|/metrics|/readyz|/v2/health/(live|ready)|/debug/batching|/v1/models/[^/]+/reload")
"""The description of the API, probes and metrics, which carry no key; what has the operator's token in its place."""


class AccessMiddleware:
    """Finds out who calls, and puts a `Caller` into the scope of the request."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        """Keep what is behind the door, and who may pass."""
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it before anything of it is read."""
        if scope["type"] == "http" and not _OPEN.fullmatch(scope["path"]):
            try:
                scope["caller"] = self._callers.identify(Headers(scope=scope).get("authorization", ""))
            except AccessDeniedError as error:
                return await error_answer(error, scope)(scope, receive, send)
        return await self._app(scope, receive, send)
