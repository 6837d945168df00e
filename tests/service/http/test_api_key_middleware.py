"""Which paths need a key; `tests/contract/test_access.py` goes over the wire."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Router

from service.auth.api_keys import ApiKeyStore
from service.http.api_key_middleware import ApiKeyMiddleware
from service.http.scope import client_of
from tests.service.http.samples import request


async def who(request: Request) -> Response:
    client = client_of(request.scope)
    return PlainTextResponse(client.name if client else "anybody")


@pytest.fixture
def app(tmp_path: Path) -> ApiKeyMiddleware:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"name": "shop", "sha256": hashlib.sha256(b"secret").hexdigest()}]}))

    async def any_path(scope: dict[str, object], receive: object, send: object) -> None:
        await (await who(Request(scope)))(scope, receive, send)  # type: ignore[arg-type]

    return ApiKeyMiddleware(Router(default=any_path), ApiKeyStore(file, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/", "/docs.json", "/example.png", "/favicon.ico", "/metrics", "/readyz"])
async def test_open_paths(app: ApiKeyMiddleware, path: str) -> None:
    assert (await request(app, path)).text == "anybody"


@pytest.mark.parametrize("path", ["/classify", "/v2", "/v1/models/a", "/v1/models/a/b/reload", "/metrics/x"])
async def test_closed_paths(app: ApiKeyMiddleware, path: str) -> None:
    answer = await request(app, path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await request(app, path, authorization="Bearer wrong")).status_code == 401
    assert (await request(app, path, authorization="Bearer secret")).text == "shop"
