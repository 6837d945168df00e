"""Calling the service in tests: bodies, and what an error must look like."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx
import orjson

from tests.server import Server

MODEL = "/v1/models/xception"
PREDICT = f"{MODEL}:predict"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


def post(
    server: Server, path: str, body: bytes | str, content_type: str | None = None, **headers: str
) -> httpx.Response:
    if content_type is not None:
        headers["Content-Type"] = content_type
    return server.client.post(path, content=body, headers=headers)


def ask(server: Server, path: str, document: Any) -> httpx.Response:
    return post(server, path, orjson.dumps(document))


def error_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["error"]
    text = document["error"]
    assert isinstance(text, str)
    return text
