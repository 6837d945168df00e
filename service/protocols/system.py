"""Probes and metrics, which belong to no inference protocol."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.edge.runner_client import RunnerClient
from service.http.endpoints import JsonEndpoint
from service.http.http_edge import HttpEdge
from service.protocols.description import Describer, Description
from service.telemetry import metrics


class System:
    """Readiness and metrics; `/livez` is BentoML's own."""

    def __init__(self, edge: HttpEdge) -> None:
        self._runner: RunnerClient = edge.runner

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/readyz", JsonEndpoint(self.ready), methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    def describe(self, describer: Describer) -> Description:
        """Return the description of the probes and of the metrics."""

        def get(operation_id: str, summary: str, *errors: str) -> dict[str, Any]:
            text = {"text/plain": {"schema": {"type": "string"}}}
            return {"get": describer.operation(operation_id, summary, text, *errors, access=None)}

        paths = {
            "/livez": get("live", "Whether the process runs"),
            "/readyz": get("ready", "Whether a checked version is available", "503"),
            "/metrics": get("metrics", "Metrics in Prometheus' text format"),
        }
        return Description("System", "Probes and metrics, which need no key.", paths)

    async def ready(self, _: Request) -> Response:
        """Respond with 200 while a checked version is available.

        Raises:
            NotReadyError: None is; the message gives the reason.
        """
        (await self._runner.state()).require_ready()
        return Response(b"ready\n", media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        """Respond with the metrics of edge and runner, in Prometheus' text format."""
        text = metrics.exposition(ready=self._runner.ready)
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})
