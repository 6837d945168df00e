"""The way of this service's own requests past BentoML's middlewares.

BentoML puts its tracing, its timeout (a task for each request, and a timer that outlives it) and its context around
whatever a service answers. The routes here have deadlines, metrics and request ids of their own, and for a small model
those middlewares would cost a tenth of a request. Probes and all that is BentoML's own still pass through them.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send


class MiddlewareBypass:
    """Puts itself before all other middlewares when the server starts."""

    def __init__(self, app: ASGIApp, bypass: ASGIApp, prefixes: Sequence[str]) -> None:
        """Keep both ways.

        Args:
            app: The way through BentoML.
            bypass: What answers the paths that begin with one of `prefixes`.
            prefixes: Those paths.
        """
        self.app = app
        self._bypass = bypass
        self._prefixes = tuple(prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Step to the front at the start; pass everything else on."""
        if scope["type"] == "lifespan":
            scope["app"].router.redirect_slashes = False  # It would be to a host that the caller names.
            scope["app"].middleware_stack = _Fork(self._bypass, self._prefixes, scope["app"].middleware_stack)
        await self.app(scope, receive, send)


class _Fork:
    """What the server calls first."""

    def __init__(self, bypass: ASGIApp, prefixes: tuple[str, ...], app: ASGIApp) -> None:
        self._bypass = bypass
        self._prefixes = prefixes
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one of the two ways."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefixes):
            await self._bypass(scope, receive, send)
        else:
            await self._app(scope, receive, send)
