"""Reject requests without an API key, where keys are required."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth.api_keys import ApiKeyStore
from service.core.errors import AccessDeniedError
from service.http.responses import error_response
from service.http.scope import set_client

_OPEN = re.compile(
    r"/|/docs\.json|/example\.png|/favicon\.ico|/metrics|/readyz|/v2/health/(live|ready)|/debug/batching|/v1/models/[^/]+/reload"
)
"""API description, probes and metrics, which need no key; and the routes that need the token of `ADMIN_TOKEN`."""


class ApiKeyMiddleware:
    """Identifies the client of a request by its API key."""

    def __init__(self, app: ASGIApp, keys: ApiKeyStore) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it before its body is read."""
        if scope["type"] == "http" and not _OPEN.fullmatch(scope["path"]):
            try:
                set_client(scope, self._keys.identify(Headers(scope=scope).get("authorization", "")))
            except AccessDeniedError as error:
                return await error_response(error, scope)(scope, receive, send)
        return await self._app(scope, receive, send)
