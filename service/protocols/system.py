"""Endpoints that belong to no inference protocol: readiness, metrics, and the description of the API."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service.edge.data_plane import DataPlane
from service.http.endpoints import JsonEndpoint
from service.protocols.openapi import INDEX_PAGE, openapi_document
from service.telemetry import metrics


class System:
    """The endpoints."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/readyz", JsonEndpoint(self.ready), methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/docs.json", self.openapi, methods=["GET"]),
            Route("/favicon.ico", self.favicon, methods=["GET"]),
            Route("/", self.index, methods=["GET"]),
        ]

    async def ready(self, _: Request) -> Response:
        """Respond with 200 while a checked version serves.

        Raises:
            NotReadyError: None does; the message says what is waited for.
        """
        (await self._plane.runner.state()).require_ready()
        return Response(b"ready\n", media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        """Respond with the metrics of edge and runner, in Prometheus' text format."""
        text = metrics.exposition(ready=self._plane.runner.ready)
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        """Respond with the OpenAPI description of this API."""
        return JSONResponse(openapi_document(self._plane.settings))

    async def favicon(self, _: Request) -> Response:
        """Respond that there is no icon; browsers ask for one."""
        return Response(status_code=204)

    async def index(self, _: Request) -> Response:
        """Respond with a page that shows the description and can send its requests."""
        return HTMLResponse(INDEX_PAGE)
