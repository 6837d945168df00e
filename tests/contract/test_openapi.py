"""The OpenAPI document over the wire; `tests/hostile/test_schema.py` sends what it describes."""

from __future__ import annotations

from tests.server import Server

NAMES = {"model": "xception", "version": "1", "label": "stable"}


def test_what_is_described_is_there(server: Server) -> None:
    document = server.client.get("/docs.json").json()
    assert document["openapi"].startswith("3.1.")
    for path, operations in document["paths"].items():
        for method in operations:
            answer = server.client.request(method, path.format(**NAMES))
            assert answer.status_code not in (404, 405), path
            assert "Malformed request" not in answer.text


def test_the_served_version_is_named(server: Server) -> None:
    _, _, version, *_ = server.client.get("/docs.json").json()["info"]["description"].splitlines()
    assert version.startswith("- version 1, the default (labels: `stable`): openvino/fp32, ")


def test_the_page_loads_nothing_from_another_host(server: Server) -> None:
    page = server.client.get("/")
    assert "swagger-ui" in page.text
    assert "http" not in page.text
    assert server.client.get("/static_content/swagger-ui-bundle.js").status_code == 200
