"""The OpenAPI description of the service, and the page that shows it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.core.serving_state import BatchingState
from service.protocols import body
from service.protocols.classify import schema as classify_schema
from service.protocols.open_inference import schema as oip_schema
from service.protocols.open_inference.request import HEADER_LENGTH
from service.protocols.tfserving import schema as tfserving_schema
from service.settings import Settings

_REQUESTS: tuple[type[BaseModel], ...] = (
    tfserving_schema.PredictRow,
    tfserving_schema.PredictColumnar,
    tfserving_schema.ClassifyExamples,
    *oip_schema.REQUESTS,
)

_ANSWERS: tuple[type[BaseModel], ...] = (
    classify_schema.Classification,
    tfserving_schema.Predictions,
    tfserving_schema.Outputs,
    tfserving_schema.Results,
    tfserving_schema.ModelStatus,
    tfserving_schema.ModelMetadata,
    body.Error,
    BatchingState,
    *oip_schema.ANSWERS,
)

_ERRORS = {
    "400": "The request is not what the API takes; the message names the field and the limit.",
    "401": "The API key or the token is missing or wrong, or the service has no token.",
    "404": "No such model or version.",
    "408": "The body did not arrive in time.",
    "409": "A version that a label points to cannot be served; what served before still does.",
    "413": "The body is too large.",
    "415": "The content type is not taken here.",
    "429": "Too much waits already; `Retry-After` says when to come back.",
    "500": "The engine failed.",
    "503": "No model is available yet, there is no memory for an image, or the service is shutting down; "
    "`Retry-After` says when to come back.",
    "504": "The deadline passed.",
}

_REFUSED = ("400", "401", "404", "408", "413", "415", "429", "500", "503", "504")
"""What a request for inference can be answered with besides 200."""

_UNKNOWN = ("400", "401", "404", "503")
"""What a question about a model can be."""

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
    schemas = models_json_schema(
        [*((body, "validation") for body in _REQUESTS), *((body, "serialization") for body in _ANSWERS)],
        ref_template=_REF,
    )[1]
    limits = (
        f"Bodies of at most {settings.max_request_mib} MiB, images of at most {settings.max_image_mib} MiB and "
        f"{settings.max_image_megapixels} megapixels, at most {settings.max_instances} images a request."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Xception service", "version": "1", "description": limits},
        "paths": {
            "/classify": {"post": _classify(settings)},
            **_tensorflow_serving(settings),
            **_open_inference(settings),
            "/v1/models/{model}/reload": {"post": _reload(settings)},
            "/debug/batching": {"get": _batching()},
            "/livez": {"get": _probe("The process runs")},
            "/readyz": {"get": _probe("A checked version of the model answers", "503")},
            "/metrics": {"get": _probe("Metrics in Prometheus' text format")},
        },
        "components": {"schemas": schemas["$defs"]},
    }


_REF = "#/components/schemas/{model}"

_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _json(*names: str) -> dict[str, Any]:
    body = _ref(names[0]) if len(names) == 1 else {"oneOf": [_ref(name) for name in names]}
    return {"application/json": {"schema": body}}


def _responses(content: dict[str, Any], *statuses: str) -> dict[str, Any]:
    return {"200": {"description": "The answer.", "content": content}, **_errors(*statuses)}


def _errors(*statuses: str) -> dict[str, Any]:
    return {status: {"description": _ERRORS[status], "content": _json("Error")} for status in statuses}


def _header(name: str, text: str, kind: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": text, "schema": kind}


_ADMIN = {
    **_header("Authorization", "`Bearer` and the token of `ADMIN_TOKEN`.", {"type": "string"}),
    "required": True,
}


def _model(settings: Settings) -> dict[str, Any]:
    name = {"type": "string", "enum": [settings.model_name]}
    return {"name": "model", "in": "path", "required": True, "schema": name}


def _request_headers(settings: Settings) -> list[dict[str, Any]]:
    timeout = {"type": "integer", "minimum": 1, "maximum": settings.request_timeout_ms}
    return [
        _header("X-Request-Timeout-Ms", "Deadline, in ms.", timeout),
        _header("X-Request-Priority", "Which queue to wait in.", {"enum": ["interactive", "bulk"]}),
        _header("X-Request-Id", "Comes back in the answer.", {"type": "string"}),
    ]


def _classify(settings: Settings) -> dict[str, Any]:
    form = {"type": "object", "required": ["image"], "properties": {"image": {"type": "string", "format": "binary"}}}
    queries = [
        {"name": name, "in": "query", "description": text, "schema": {"type": kind}}
        for name, text, kind in [
            ("top_k", "How many classes.", "integer"),
            ("version", "The version to ask, by number; the default one otherwise.", "integer"),
            ("label", "The version to ask, by label.", "string"),
        ]
    ]
    return {
        "summary": "The best classes of an image",
        "parameters": [*queries, *_request_headers(settings)],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": _responses(_json("Classification"), *_REFUSED),
    }


def _reload(settings: Settings) -> dict[str, Any]:
    return {
        "summary": "Follow the labels of the store now; answers once what they say is done",
        "parameters": [_model(settings), _ADMIN, *_request_headers(settings)],
        "responses": _responses(_json("ModelStatus"), "400", "401", "404", "409", "503", "504"),
    }


def _batching() -> dict[str, Any]:
    return {
        "summary": "What the batcher does now, and what it has learned: costs, batch sizes, lanes",
        "parameters": [_ADMIN],
        "responses": _responses(_json("BatchingState"), "401", "503"),
    }


def _tensorflow_serving(settings: Settings) -> dict[str, Any]:
    """Return TensorFlow Serving's paths: each by model, by version and by label."""
    paths: dict[str, Any] = {}
    model = _model(settings)
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
    label = {"name": "label", "in": "path", "required": True, "schema": {"type": "string"}}
    predict = _json("PredictRow", "PredictColumnar"), _json("Predictions", "Outputs")
    examples = _json("ClassifyExamples")
    for path, which, of in [
        ("/v1/models/{model}", [model], ""),
        ("/v1/models/{model}/versions/{version}", [model, version], ", of a version"),
        ("/v1/models/{model}/labels/{label}", [model, label], ", of the version that a label leads to"),
    ]:
        asked = [*which, *_request_headers(settings)]
        paths |= {
            f"{path}:predict": {
                "post": _question(f"Scores of images{of}, in TensorFlow Serving's format", asked, *predict)
            },
            f"{path}:classify": {
                "post": _question(
                    f"Scores with class names{of}, in TensorFlow Serving's format", asked, examples, _json("Results")
                )
            },
            f"{path}:regress": {
                "post": {
                    "summary": f"Regression{of}; not what this model does",
                    "parameters": asked,
                    "requestBody": {"required": True, "content": examples},
                    "responses": _errors(*_REFUSED),
                }
            },
            path: {"get": _get(f"State{of or ' of all versions'}", which, "ModelStatus")},
            f"{path}/metadata": {"get": _get(f"Signatures{of}", which, "ModelMetadata")},
        }
    return paths


def _question(
    summary: str, parameters: list[dict[str, Any]], body: dict[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": body},
        "responses": _responses(answer, *_REFUSED),
    }


def _open_inference(settings: Settings) -> dict[str, Any]:
    """Return the paths of the Open Inference Protocol: what is about a model by model, and by version."""
    model = _model(settings)
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "A number or a label.",
        "schema": {"type": "string"},
    }
    length = _header(
        HEADER_LENGTH, "Bytes of the JSON, when binary data follows it.", {"type": "integer", "minimum": 0}
    )
    index = {"application/json": {"schema": {"type": "array", "items": _ref("RepositoryModel")}}}
    paths: dict[str, Any] = {
        "/v2": {"get": {"summary": "The server", "responses": _responses(_json("MetadataServerResponse"), "401")}},
        "/v2/health/live": {"get": _probe("The process runs")},
        "/v2/health/ready": {"get": _ready("Whether a checked version answers", [], "503")},
        "/v2/repository/index": {
            "post": {
                "summary": "State of all versions, as Triton lists them",
                "requestBody": {"required": False, "content": _json("RepositoryIndexRequest")},
                "responses": _responses(index, "400", "401", "408", "413", "429", "503"),
            }
        },
    }
    for path, which, of in [
        ("/v2/models/{model}", [model], ""),
        ("/v2/models/{model}/versions/{version}", [model, version], ", of a version"),
    ]:
        question = _question(
            f"Scores or best classes of images{of}",
            [*which, length, *_request_headers(settings)],
            _json("InferenceRequest") | _BINARY,
            _json("InferenceResponse") | _BINARY,
        )
        paths |= {
            path: {"get": _get(f"Inputs and outputs{of}", which, "MetadataModelResponse")},
            f"{path}/ready": {"get": _ready(f"Whether it answers{of}", which, *_UNKNOWN)},
            f"{path}/infer": {"post": question},
        }
    return paths


def _ready(summary: str, parameters: list[dict[str, Any]], *statuses: str) -> dict[str, Any]:
    body = {"application/json": {"schema": {"type": "object", "properties": {"ready": {"const": True}}}}}
    return {"summary": summary, "parameters": parameters, "responses": _responses(body, *statuses)}


def _get(summary: str, parameters: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return {"summary": summary, "parameters": parameters, "responses": _responses(_json(name), *_UNKNOWN)}


def _probe(summary: str, *statuses: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": summary}, **_errors(*statuses)}}
