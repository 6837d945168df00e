"""The OpenAPI description is sound, and describes what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from service.edge.data_plane import DataPlane
from service.http.http_edge import HttpEdge
from service.protocols.openapi import openapi_document
from service.protocols.tfserving.routes import TensorFlowServing
from service.settings import load_settings
from tests.server import Server


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(load_settings())


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert named == set(document["components"]["schemas"])


def test_paths_declare_what_stands_in_them(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            declared = {part["name"] for part in operation.get("parameters", []) if part["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), (method, path)
            assert ("requestBody" in operation) == (method == "post" and not path.endswith("/reload"))
            assert operation["summary"]
            assert all(answer["description"] for answer in operation["responses"].values())


def test_every_path_of_tensorflow_serving_is_described(document: dict[str, Any]) -> None:
    routes = [
        route
        for route in TensorFlowServing(HttpEdge(DataPlane(load_settings()))).routes()
        if "{other" not in route.path
    ]
    served = {re.sub(r"{(\w+):\w+}", r"{\1}", route.path): route.methods for route in routes}
    assert len(served) == 15
    for path, methods in served.items():
        assert {method.upper() for method in document["paths"][path]} == (methods or set()) - {"HEAD"}


def test_what_is_described_is_there(server: Server) -> None:
    document = server.client.get("/docs.json").json()
    assert document["openapi"].startswith("3.1.")
    for template, operations in document["paths"].items():
        path = template.format(model="xception", version="1", label="stable")
        for method in operations:
            answer = server.client.request(method, path)
            assert answer.status_code not in (404, 405), path
            assert "Malformed request" not in answer.text


def test_the_page_that_shows_it(server: Server) -> None:
    page = server.client.get("/")
    assert "swagger-ui" in page.text
    assert "http" not in page.text.replace("http-equiv", "")  # Nothing is loaded from elsewhere.
    assert server.client.get("/static_content/swagger-ui-bundle.js").status_code == 200
