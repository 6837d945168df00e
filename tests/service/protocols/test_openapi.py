"""The OpenAPI document is sound, and agrees with what the parsers of the requests accept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from starlette.routing import Router

from service.core.errors import BadRequestError
from service.edge.data_plane import DataPlane
from service.http.http_edge import HttpEdge
from service.protocols.apis import http_apis, http_routes
from service.protocols.description import EXAMPLE_BASE64, HttpApi
from service.protocols.open_inference.models import parse_index_request
from service.protocols.open_inference.request import parse_infer
from service.protocols.openapi import openapi_document
from service.protocols.tfserving.body import parse_body
from service.protocols.tfserving.classify import parse_examples
from service.protocols.tfserving.predict import parse_predict
from service.settings import Settings
from tests.service.protocols.edge import STATE, Client
from tests.service.protocols.open_inference.samples import MODEL, SIGNATURES


@pytest.fixture(scope="module")
def apis() -> tuple[HttpApi, ...]:
    return http_apis(HttpEdge(DataPlane(Settings())))


@pytest.fixture(scope="module")
def document(apis: tuple[HttpApi, ...]) -> dict[str, Any]:
    return openapi_document(Settings(), apis, STATE)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert named == set(document["components"]["schemas"])


def test_paths_declare_their_parameters(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        declared = {part["name"] for part in operation.get("parameters", []) if part["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), (method, path)
        assert ("requestBody" in operation) == (method == "post" and not path.endswith("/reload"))
        assert operation["summary"]
        assert all(answer["description"] for answer in operation["responses"].values())


def test_every_route_is_described(apis: tuple[HttpApi, ...], document: dict[str, Any]) -> None:
    described = {(path, method.upper()) for method, path, _ in operations(document)} - {("/livez", "GET")}  # BentoML's.
    served: set[tuple[str, str]] = set()
    for route in (route for api in apis for route in api.routes()):
        if "{other" in route.path or (route.path.endswith("load") and "repository" in route.path):
            continue  # They are refused always.
        path = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
        served |= {(path, method) for method in (route.methods or set()) - {"HEAD"}}
    assert served == described


def test_operations_have_a_tag_and_stable_unique_names(document: dict[str, Any]) -> None:
    """Generated clients name their methods after them: a changed one breaks callers."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert sorted(names) == sorted(
        ["classify", "reloadModel", "batchingState", "live", "ready", "metrics"]
        + [
            f"tfserving{method}{suffix}"
            for method in ("Predict", "Classify", "Regress", "Status", "Metadata")
            for suffix in ("", "Version", "Label")
        ]
        + [f"openInference{name}" for name in ("Server", "Live", "Ready", "RepositoryIndex")]
        + [f"openInference{name}{suffix}" for name in ("Metadata", "ModelReady", "Infer") for suffix in ("", "Version")]
    )
    tags = [tag["name"] for tag in document["tags"]]
    assert all(operation["tags"][0] in tags for _, _, operation in operations(document))


@pytest.mark.parametrize("keys", [False, True])
def test_keys_are_described_where_they_are_required(apis: tuple[HttpApi, ...], tmp_path: Path, keys: bool) -> None:
    file = tmp_path / "keys.json"
    file.write_text('{"keys": []}')
    document = openapi_document(Settings(api_keys_file=file if keys else None), apis, STATE)
    needs = {operation["operationId"]: operation["security"] for _, _, operation in operations(document)}
    assert needs["classify"] == ([{"apiKey": []}] if keys else [])
    assert needs["reloadModel"] == [{"adminToken": []}]
    assert needs["ready"] == []
    assert set(document["components"]["securitySchemes"]) == ({"apiKey", "adminToken"} if keys else {"adminToken"})
    for _, path, operation in operations(document):
        assert ("401" in operation["responses"]) == bool(operation["security"]), path


def test_the_served_versions_are_described(apis: tuple[HttpApi, ...]) -> None:
    text = openapi_document(Settings(), apis, STATE)["info"]["description"]
    assert "- version 3, the default (labels: `stable`): openvino/fp32, 2 × 1 pixels, 3 classes\n" in text
    starting = STATE.model_copy(update={"default": None, "served": (), "waiting_for": "pulling version 3"})
    for state, start in [
        (starting, "**No version of `xception` is available now**: pulling version 3."),
        (None, "**No version of `xception` is available now**."),
    ]:
        assert openapi_document(Settings(), apis, state)["info"]["description"].startswith(start)


class TestAgreement:
    """What the schema of a request allows is read, and what it forbids is not: here with null in each field."""

    @pytest.mark.parametrize(
        "path", ["", "id", "inputs", "outputs", "parameters"]
        + [f"inputs.0.{key}" for key in ("name", "datatype", "shape", "parameters", "parameters.content_type")]
        + ["inputs.0.parameters.binary_data_size"]
        + [f"outputs.0.{key}" for key in ("name", "parameters")]
        + [f"outputs.0.parameters.{key}" for key in ("binary_data", "classification")]
        + [f"parameters.{key}" for key in ("binary_data_output", "timeout", "priority")],
    )  # fmt: skip
    def test_open_inference(self, document: dict[str, Any], path: str) -> None:
        request = {
            "inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_BASE64]}],
            "outputs": [{"name": "scores"}],
        }
        body = nulled(request, path)
        self.check(document, "/v2/models/{model}/infer", body, lambda raw: parse_infer(raw, None, MODEL, 4))

    def test_data_may_be_null_beside_binary_data(self, document: dict[str, Any]) -> None:
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [2, 2, 1, 3], "data": None}
        request = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 12}}]}).encode()
        schema_of(document, "/v2/models/{model}/infer").validate(json.loads(request))
        assert len(parse_infer(request + bytes(12), len(request), MODEL, 4).inputs) == 2

    @pytest.mark.parametrize("path", ["", "ready"])
    def test_index(self, document: dict[str, Any], path: str) -> None:
        self.check(document, "/v2/repository/index", nulled({"ready": True}, path), parse_index_request)

    @pytest.mark.parametrize("path", ["", "instances", "instances.0", "instances.0.b64", "signature_name"])
    def test_predict(self, document: dict[str, Any], path: str) -> None:
        body = nulled({"instances": [{"b64": EXAMPLE_BASE64}]}, path)
        self.check(
            document,
            "/v1/models/{model}:predict",
            body,
            lambda raw: parse_predict(parse_body(raw), SIGNATURES, 4),
        )

    @pytest.mark.parametrize(
        "path", ["", "examples", "examples.0", "examples.0.image_bytes", "context", "signature_name"]
    )
    def test_classify(self, document: dict[str, Any], path: str) -> None:
        body = nulled({"examples": [{"image_bytes": {"b64": EXAMPLE_BASE64}}]}, path)
        self.check(document, "/v1/models/{model}:classify", body, lambda raw: parse_examples(parse_body(raw), 4))

    @staticmethod
    def check(document: dict[str, Any], path: str, body: Any, parse: Any) -> None:
        allowed = schema_of(document, path).is_valid(body)
        with nullcontext() if allowed else pytest.raises(BadRequestError):
            parse(json.dumps(body).encode())


def schema_of(document: dict[str, Any], path: str) -> Any:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


def nulled(request: Any, path: str) -> Any:
    """Return a copy of a request with null at a path, as in `inputs.0.name`."""
    copy = json.loads(json.dumps({"": request}))
    *outer, last = ["", *path.split(".")] if path else [""]
    part = copy
    for key in outer:
        part = part[int(key)] if isinstance(part, list) else part.setdefault(key, {})
    part[int(last) if isinstance(part, list) else last] = None
    return copy[""]


async def test_the_page_the_document_the_example_and_no_icon(client: Client) -> None:
    page = (await client.get("/")).text
    assert "deepLinking: true" in page
    assert "tryItOutEnabled: true" in page
    assert "version 3" in (await client.get("/docs.json")).json()["info"]["description"]
    assert (await client.get("/example.png")).content.startswith(b"\x89PNG")
    assert (await client.get("/favicon.ico")).status_code == 204


async def test_the_document_is_there_without_a_runner() -> None:
    edge = HttpEdge(DataPlane(Settings()))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Router(routes=http_routes(edge))), base_url="http://test"
    ) as client:
        assert "No version" in (await client.get("/docs.json")).json()["info"]["description"]
