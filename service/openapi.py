"""The OpenAPI description of the service, and the page that shows it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from . import schema
from .settings import Settings

_BODIES: tuple[type[BaseModel], ...] = (
    schema.Classification,
    schema.PredictRow,
    schema.PredictColumnar,
    schema.Predictions,
    schema.Outputs,
    schema.ModelStatus,
    schema.Error,
)

_ERRORS = {
    "400": "The request is not what the API takes; the message names the field and the limit.",
    "404": "No such model.",
    "413": "The body is too large.",
    "415": "The content type is not taken here.",
    "429": "Too much waits already; `Retry-After` says when to come back.",
    "500": "The engine failed.",
    "503": "No model is available yet, or the service is shutting down; `Retry-After` says when to come back.",
    "504": "The deadline passed.",
}

INDEX_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Xception service</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "docs.json", dom_id: "#swagger-ui"});</script>
</body>
</html>
"""
"""Swagger UI from the files that BentoML ships; unlike BentoML's own page it loads nothing from elsewhere."""


def openapi_document(settings: Settings) -> dict[str, Any]:
    """Return the description, OpenAPI 3.1, with the limits of these settings in its texts."""
    schemas = models_json_schema([(body, "serialization") for body in _BODIES], ref_template=_REF)[1]
    limits = (
        f"Bodies of at most {settings.max_request_mib} MiB, images of at most {settings.max_image_mib} MiB and "
        f"{settings.max_image_megapixels} megapixels, at most {settings.max_instances} images a request."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Xception service", "version": "1", "description": limits},
        "paths": {
            "/classify": {"post": _classify()},
            "/v1/models/{model}:predict": {"post": _predict(settings)},
            "/v1/models/{model}": {"get": _get("State of the model's versions", "ModelStatus")},
            "/v1/models/{model}/metadata": {"get": _get("Signatures, classes and input of the model", None)},
            "/livez": {"get": _probe("The process runs")},
            "/readyz": {"get": _probe("A checked version of the model answers")},
            "/metrics": {"get": _probe("Metrics in Prometheus' text format")},
        },
        "components": {"schemas": schemas["$defs"]},
    }


_REF = "#/components/schemas/{model}"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _json(*names: str) -> dict[str, Any]:
    body = _ref(names[0]) if len(names) == 1 else {"oneOf": [_ref(name) for name in names]}
    return {"application/json": {"schema": body}}


def _responses(content: dict[str, Any], *statuses: str) -> dict[str, Any]:
    errors = {status: {"description": _ERRORS[status], "content": _json("Error")} for status in statuses}
    return {"200": {"description": "The answer.", "content": content}, **errors}


def _header(name: str, text: str, kind: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": text, "schema": kind}


def _request_headers(settings: Settings | None = None) -> list[dict[str, Any]]:
    longest = {"maximum": settings.request_timeout_ms} if settings else {}
    return [
        _header("X-Request-Timeout-Ms", "Deadline, in ms.", {"type": "integer", "minimum": 1, **longest}),
        _header("X-Request-Priority", "Which queue to wait in.", {"enum": ["interactive", "bulk"]}),
        _header("X-Request-Id", "Comes back in the answer.", {"type": "string"}),
    ]


def _model() -> dict[str, Any]:
    return {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}


def _classify() -> dict[str, Any]:
    form = {"type": "object", "required": ["image"], "properties": {"image": {"type": "string", "format": "binary"}}}
    top_k = {"name": "top_k", "in": "query", "description": "How many classes.", "schema": {"type": "integer"}}
    return {
        "summary": "The best classes of an image",
        "parameters": [top_k, *_request_headers()],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": _responses(_json("Classification"), "400", "413", "415", "429", "500", "503", "504"),
    }


def _predict(settings: Settings) -> dict[str, Any]:
    return {
        "summary": "Scores of images, in TensorFlow Serving's format",
        "parameters": [_model(), *_request_headers(settings)],
        "requestBody": {"required": True, "content": _json("PredictRow", "PredictColumnar")},
        "responses": _responses(
            _json("Predictions", "Outputs"), "400", "404", "413", "415", "429", "500", "503", "504"
        ),
    }


def _get(summary: str, name: str | None) -> dict[str, Any]:
    content = _json(name) if name else {"application/json": {"schema": {"type": "object"}}}
    return {"summary": summary, "parameters": [_model()], "responses": _responses(content, "404", "503")}


def _probe(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": summary}}}
