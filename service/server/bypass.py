"""Route this service's own requests around BentoML's middleware.

BentoML adds its tracing, its timeout (a task for each request, and a timer that outlives it) and its context. The
routes here have deadlines, metrics and request ids of their own; for a small model that middleware would cost a tenth
of a request. Probes and BentoML's own routes still pass through it.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from service.server.bentoml_internals import wrap_application


class MiddlewareBypass:
    """Places the bypass before all other middleware when the server starts."""

    def __init__(self, app: ASGIApp, bypass: ASGIApp, prefixes: Sequence[str]) -> None:
        """Keep both applications.

        Args:
            app: The one with BentoML's middleware.
            bypass: Handles the paths that begin with one of `prefixes`.
            prefixes: Of paths.
        """
        self.app = app
        self._bypass = bypass
        self._prefixes = tuple(prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Install the bypass at the start; pass everything else on."""
        if scope["type"] == "lifespan":
            wrap_application(scope, lambda app: _Fork(self._bypass, self._prefixes, app))
        await self.app(scope, receive, send)


class _Fork:
    """Passes a request to one of two applications, by its path."""

    def __init__(self, bypass: ASGIApp, prefixes: tuple[str, ...], app: ASGIApp) -> None:
        self._bypass = bypass
        self._prefixes = prefixes
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self._prefixes):
            await self._bypass(scope, receive, send)
        else:
            await self._app(scope, receive, send)
