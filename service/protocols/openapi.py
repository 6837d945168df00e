"""Assemble the OpenAPI document, and serve it with a page that shows it and can send its requests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service.core.errors import ServiceError
from service.core.serving_state import RunnerState
from service.edge.runner_client import RunnerClient
from service.http.endpoints import JsonEndpoint
from service.protocols.body import Error
from service.protocols.description import EXAMPLE_IMAGE, EXAMPLE_PATH, SCHEMA_REF, Describer, HttpApi
from service.settings import Settings

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Xception service</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "docs.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null
});
</script>
</body>
</html>
"""
"""Swagger UI from the files that BentoML ships; unlike BentoML's own page it loads nothing from another host."""


class Documentation:
    """Serves the description of other APIs."""

    def __init__(self, settings: Settings, runner: RunnerClient, apis: Sequence[HttpApi]) -> None:
        self._settings = settings
        self._runner = runner
        self._apis = apis

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.page, methods=["GET"]),
            Route("/docs.json", JsonEndpoint(self.document), methods=["GET"]),
            Route(EXAMPLE_PATH, self.example, methods=["GET"]),
            Route("/favicon.ico", self.favicon, methods=["GET"]),
        ]

    async def page(self, _: Request) -> Response:
        """Respond with Swagger UI."""
        return HTMLResponse(_PAGE)

    async def document(self, _: Request) -> Response:
        """Respond with the OpenAPI document, which also states the versions that are served now."""
        try:
            state = await self._runner.state()
        except ServiceError:
            state = None
        return JSONResponse(openapi_document(self._settings, self._apis, state))

    async def example(self, _: Request) -> Response:
        """Respond with the image of the examples."""
        return Response(EXAMPLE_IMAGE, media_type="image/png")

    async def favicon(self, _: Request) -> Response:
        """Respond that there is no icon; browsers request one."""
        return Response(status_code=204)


def openapi_document(settings: Settings, apis: Sequence[HttpApi], state: RunnerState | None) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of some APIs.

    Args:
        settings: Its limits and credentials are described.
        apis: What to describe, in this order.
        state: The versions that are served; None while the runner is away.
    """
    describer = Describer(settings, state)
    parts = [api.describe(describer) for api in apis]
    schemas = _schemas(
        tuple(body for part in parts for body in part.requests),
        tuple(body for part in parts for body in part.responses),
    )
    paths: dict[str, Any] = {}
    for part in parts:
        for path, operations in part.paths.items():
            paths[path] = {method: {"tags": [part.tag], **described} for method, described in operations.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Xception service",
            "version": "1",
            "description": f"{_describe_state(settings, state)}\n\n{_describe_limits(settings)}",
        },
        "tags": [{"name": part.tag, "description": part.summary} for part in parts],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _security_schemes(settings)},
    }


@cache
def _schemas(requests: tuple[type[BaseModel], ...], responses: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """Return the JSON schemas of bodies; generating them takes many milliseconds, and happens once."""
    definitions = models_json_schema(
        [
            *((body, "validation") for body in requests),
            *((body, "serialization") for body in responses),
            (Error, "serialization"),
        ],
        ref_template=SCHEMA_REF,
    )[1]
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _security_schemes(settings: Settings) -> dict[str, Any]:
    schemes = {"adminToken": {"type": "http", "scheme": "bearer", "description": "The value of `ADMIN_TOKEN`."}}
    if settings.api_keys_file:
        schemes["apiKey"] = {"type": "http", "scheme": "bearer", "description": "An API key of `API_KEYS_FILE`."}
    return schemes


def _describe_state(settings: Settings, state: RunnerState | None) -> str:
    """Return the versions that are served, as Markdown."""
    if state is None or not state.served:
        waiting_for = f": {state.waiting_for}" if state and state.waiting_for else ""
        return f"**No version of `{settings.model_name}` is available now**{waiting_for}."
    lines = [f"**Serving now: `{state.name}`**", ""]
    for model in state.served:
        labels = ", ".join(f"`{label}`" for label, version in state.labels.items() if version == model.version)
        default = ", the default" if model.version == state.default else ""
        lines.append(
            f"- version {model.version}{default}{f' (labels: {labels})' if labels else ''}: {model.variant}, "
            f"{model.input.height} × {model.input.width} pixels, {len(model.classes)} classes"
        )
    return "\n".join(lines)


def _describe_limits(settings: Settings) -> str:
    return (
        f"Limits: bodies of {settings.max_request_mib} MiB; images of {settings.max_image_mib} MiB and "
        f"{settings.max_image_megapixels} megapixels; {settings.max_instances} images in one request."
    )
