"""Describe an HTTP API for the OpenAPI document: operations, parameters, bodies, responses and examples.

Each API describes its own paths beside its routes; `service.protocols.openapi` assembles them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel
from starlette.routing import Route

from service.core.serving_state import RunnerState
from service.settings import Settings

SCHEMA_REF = "#/components/schemas/{model}"

EXAMPLE_PATH = "/example.png"

EXAMPLE_IMAGE = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAARUlEQVR4nAXBARFAMAAAwL8l0ECFNSDCNBBhGpGABjSYBmiwBvOPnEsboZT5zAL3"
    "MtRV4DtNFfFpEKTtSAiu/o2g29uMHyA2FCEJiVhOAAAAAElFTkSuQmCC"
)
"""A handwritten 8 of scikit-learn's digits, a PNG of 8 × 8 pixels."""

EXAMPLE_BASE64 = b64encode(EXAMPLE_IMAGE).decode()

BINARY: dict[str, Any] = {"type": "string", "format": "binary"}

INFERENCE_ERRORS = ("400", "404", "408", "413", "415", "429", "500", "503", "504")
"""Statuses of an inference request beside 200 and 401."""

LOOKUP_ERRORS = ("400", "404", "503")
"""Statuses of a request for the status or metadata of a model beside 200 and 401."""

_ERRORS = {
    "400": "The request is not valid; the message names the field and the limit.",
    "401": "The API key or the token is missing or wrong, or the service has no token.",
    "404": "No such model or version.",
    "408": "The body did not arrive in time.",
    "409": "A version that a label points to cannot be served; the previous one still is.",
    "413": "The body is over the limit.",
    "415": "The content type is not supported.",
    "429": "The queue is full, or the quota of the API key is used up; `Retry-After` gives the seconds to wait.",
    "500": "The engine failed.",
    "503": "No model is available yet, memory is short, or the service is shutting down; `Retry-After` gives the "
    "seconds to wait.",
    "504": "The deadline passed.",
}

Access = Literal["apiKey", "adminToken"]
"""Name of the security scheme that an operation needs."""

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """What an API contributes to the OpenAPI document."""

    tag: str
    summary: str
    """Markdown, shown beside the tag."""
    paths: Mapping[str, JsonObject]
    """Operations by path and method."""
    requests: Sequence[type[BaseModel]] = field(default=())
    responses: Sequence[type[BaseModel]] = field(default=())


class HttpApi(Protocol):
    """An API over HTTP."""

    def routes(self) -> list[Route]:
        """Return its routes."""

    def describe(self, describer: Describer) -> Description:
        """Return its part of the OpenAPI document."""


class Describer:
    """Makes operations that fit the settings, and examples that fit the versions served."""

    def __init__(self, settings: Settings, state: RunnerState | None) -> None:
        """Keep what the document depends on.

        Args:
            settings: Of the service.
            state: Of the runner; None while it is away.
        """
        self.settings = settings
        self.state = state

    def operation(
        self,
        operation_id: str,
        summary: str,
        content: JsonObject | None,
        *errors: str,
        access: Access | None = "apiKey",
        parameters: Sequence[JsonObject] = (),
        body: JsonObject | None = None,
        **other: Any,
    ) -> JsonObject:
        """Return an operation.

        Args:
            operation_id: Unique in the document, and the same in every release.
            summary: One line.
            content: Of the response 200, by media type; None where there is no such response.
            errors: Statuses of other responses.
            access: The credential that it needs, where the service has such.
            parameters: In path, query and headers.
            body: Of the request, by media type.
            other: Further fields of OpenAPI.
        """
        needed = access if access == "adminToken" or self.settings.api_keys_file else None
        operation: JsonObject = {"operationId": operation_id, "summary": summary, **other}
        if parameters:
            operation["parameters"] = list(parameters)
        if body is not None:
            operation["requestBody"] = {"required": True, "content": body}
        success = {"200": {"description": "The response.", "content": content}} if content is not None else {}
        operation["responses"] = success | _errors(sorted({*errors, "401"} if needed else errors))
        operation["security"] = [{needed: []}] if needed else []
        return operation

    def model(self) -> JsonObject:
        """Return the path parameter with the name of the model."""
        return path_parameter("model", {"type": "string", "enum": [self.settings.model_name]})

    def version(self, schema: JsonObject, description: str = "") -> JsonObject:
        """Return the path parameter with a version, its example the default one."""
        default = self.state.default if self.state else None
        example = str(default) if schema["type"] == "string" and default is not None else default
        return path_parameter("version", schema, description, example)

    def label(self) -> JsonObject:
        """Return the path parameter with a label, its example one that leads somewhere."""
        return path_parameter(
            "label", {"type": "string"}, "", next(iter(self.state.labels), None) if self.state else None
        )

    def request_headers(self) -> list[JsonObject]:
        """Return the headers that every inference request can have."""
        timeout = {"type": "integer", "minimum": 1, "maximum": self.settings.request_timeout_ms}
        return [
            header("X-Request-Timeout-Ms", "Deadline, in ms.", timeout),
            header("X-Request-Priority", "Priority in the queue.", {"enum": ["interactive", "bulk"]}),
            header("X-Request-Id", "Returned with the response.", {"type": "string"}),
        ]


def ref(model: type[BaseModel]) -> JsonObject:
    """Return a reference to the schema of a body."""
    return {"$ref": SCHEMA_REF.format(model=model.__name__)}


def json_content(*models: type[BaseModel], **examples: Any) -> JsonObject:
    """Return content that is one of these JSON bodies, with named examples."""
    schema = ref(models[0]) if len(models) == 1 else {"oneOf": [ref(model) for model in models]}
    content: JsonObject = {"schema": schema}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": content}


def path_parameter(name: str, schema: JsonObject, description: str = "", example: Any = None) -> JsonObject:
    """Return a parameter in the path."""
    parameter: JsonObject = {"name": name, "in": "path", "required": True, "schema": schema}
    if description:
        parameter["description"] = description
    if example is not None:
        parameter["example"] = example
    return parameter


def query(name: str, kind: str, description: str) -> JsonObject:
    """Return an optional parameter in the query."""
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def header(name: str, description: str, schema: JsonObject) -> JsonObject:
    """Return an optional header of the request."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _errors(statuses: Iterable[str]) -> JsonObject:
    content = {"application/json": {"schema": {"$ref": SCHEMA_REF.format(model="Error")}}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}
