"""The paths of TensorFlow Serving's REST API, as far as they need no engine."""

from __future__ import annotations

import pytest

from tests.service.protocols.edge import Client

MODEL = "/v1/models/cats"


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/3", f"{MODEL}/versions/003", f"{MODEL}/labels/stable"])
async def test_status_and_metadata(client: Client, path: str) -> None:
    (status,) = (await client.get(path)).json()["model_version_status"]
    assert (status["version"], status["state"]) == ("3", "AVAILABLE")
    assert (await client.get(f"{path}/metadata")).json()["model_spec"]["version"] == "3"


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/other", 400, "Malformed request: GET /v1/other"),
        ("GET", f"{MODEL}:predict", 400, f"Malformed request: GET {MODEL}:predict (send it with POST)"),
        ("POST", MODEL, 400, f"Malformed request: POST {MODEL} (send it with GET)"),
        ("GET", f"{MODEL}/versions/{2**64}", 400, f"Failed to convert version: {2**64} to numeric."),
        ("GET", f"{MODEL}/labels/other", 400, "Unrecognized servable version label: other"),
        ("GET", f"{MODEL}/versions/4/metadata", 404, "Servable not found for request: Specific(cats, 4)"),
        ("GET", "/v1/models/dogs", 404, "Could not find any versions of model dogs"),
    ],
)
async def test_errors_have_tensorflow_servings_texts(
    client: Client, method: str, path: str, status: int, error: str
) -> None:
    answer = await (client.get(path) if method == "GET" else client.post(path))
    assert (answer.status_code, answer.json()) == (status, {"error": error})


async def test_a_request_is_parsed_before_anything_is_run(client: Client) -> None:
    for method in ("predict", "classify", "regress"):
        answer = await client.post(f"{MODEL}:{method}")
        assert (answer.status_code, answer.json()) == (400, {"error": "JSON Parse error: The document is empty"})
    answer = await client.post(f"{MODEL}:regress", b'{"examples": [{"image_bytes": {"b64": ""}}]}')
    assert answer.status_code == 400
    assert "signature" in answer.json()["error"]
