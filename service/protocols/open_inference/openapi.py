"""The OpenAPI description of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

from service.protocols.description import (
    BINARY,
    EXAMPLE_BASE64,
    INFERENCE_ERRORS,
    LOOKUP_ERRORS,
    Describer,
    Description,
    header,
    json_content,
    ref,
)
from service.protocols.open_inference.request import HEADER_LENGTH
from service.protocols.open_inference.schema import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RepositoryIndexRequest,
    RepositoryModel,
)

_READY = {"application/json": {"schema": {"type": "object", "properties": {"ready": {"const": True}}}}}
_OCTETS = {"application/octet-stream": {"schema": BINARY}}
_EXAMPLE = {"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_BASE64]}]}
_BEST = {**_EXAMPLE, "outputs": [{"name": "scores", "parameters": {"classification": 3}}]}


def describe(describer: Describer) -> Description:
    """Return the description: what concerns a model by model, and by version."""
    model = describer.model()
    version = describer.version({"type": "string"}, "A number or a label.")
    paths = _server_paths(describer)
    for path, parameters, of, suffix in [
        ("/v2/models/{model}", [model], "", ""),
        ("/v2/models/{model}/versions/{version}", [model, version], ", by version", "Version"),
    ]:
        paths |= _model_paths(describer, path, parameters, of, suffix)
    return Description(
        "Open Inference Protocol",
        "The Open Inference Protocol v2 of KServe and Triton.",
        paths,
        requests=[InferenceRequest, RepositoryIndexRequest],
        responses=[InferenceResponse, MetadataServerResponse, MetadataModelResponse, RepositoryModel],
    )


def _server_paths(describer: Describer) -> dict[str, Any]:
    server = describer.operation(
        "openInferenceServer", "Name, version and extensions of the server", json_content(MetadataServerResponse)
    )
    live = describer.operation("openInferenceLive", "Whether the process runs", _live(), access=None)
    ready = describer.operation(
        "openInferenceReady", "Whether a checked version is available", _READY, "503", access=None
    )
    index = describer.operation(
        "openInferenceRepositoryIndex",
        "State of all versions, as in Triton",
        {"application/json": {"schema": {"type": "array", "items": ref(RepositoryModel)}}},
        *("400", "408", "413", "429", "503"),
        body=json_content(RepositoryIndexRequest, ready={"ready": True}),
    )
    index["requestBody"]["required"] = False
    return {
        "/v2": {"get": server},
        "/v2/health/live": {"get": live},
        "/v2/health/ready": {"get": ready},
        "/v2/repository/index": {"post": index},
    }


def _model_paths(
    describer: Describer, path: str, parameters: list[dict[str, Any]], of: str, suffix: str
) -> dict[str, Any]:
    length = header(HEADER_LENGTH, "Bytes of the JSON, when binary data follows it.", {"type": "integer", "minimum": 0})
    metadata = describer.operation(
        f"openInferenceMetadata{suffix}",
        f"Inputs and outputs{of}",
        json_content(MetadataModelResponse),
        *LOOKUP_ERRORS,
        parameters=parameters,
    )
    ready = describer.operation(
        f"openInferenceModelReady{suffix}",
        f"Whether a version is available{of}",
        _READY,
        *LOOKUP_ERRORS,
        parameters=parameters,
    )
    infer = describer.operation(
        f"openInferenceInfer{suffix}",
        f"Scores or best classes of images{of}",
        json_content(InferenceResponse) | _OCTETS,
        *INFERENCE_ERRORS,
        description=f"Binary data of a tensor may follow the JSON. With `{HEADER_LENGTH}: 0` the body is one image.",
        parameters=[*parameters, length, *describer.request_headers()],
        body=json_content(InferenceRequest, scores=_EXAMPLE, classes=_BEST) | _OCTETS,
    )
    return {path: {"get": metadata}, f"{path}/ready": {"get": ready}, f"{path}/infer": {"post": infer}}


def _live() -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object", "properties": {"live": {"const": True}}}}}
