"""Errors as JSON, and what the record of the request keeps of them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import orjson
import pytest

from service.core.errors import AccessDeniedError, BadRequestError, ClientDisconnectedError, OverloadedError
from service.http.responses import CLIENT_CLOSED_REQUEST, error_response
from service.http.scope import record_of


@pytest.fixture
def scope() -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": []}


def test_an_error_has_its_status_and_headers(scope: dict[str, Any]) -> None:
    response = error_response(OverloadedError("busy", retry_after_s=3, reason="queue_images"), scope)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert orjson.loads(response.body) == {"error": "busy"}
    assert (record_of(scope).reason, record_of(scope).error) == ("queue_images", "busy")
    assert error_response(AccessDeniedError("no"), scope).headers["www-authenticate"] == "Bearer"


def test_a_long_message_is_cut(scope: dict[str, Any]) -> None:
    body = orjson.loads(error_response(BadRequestError("x" * 5000), scope).body)
    assert body == {"error": "x" * 2000 + "…"}


def test_a_client_that_is_gone_gets_nothing(scope: dict[str, Any]) -> None:
    response = error_response(ClientDisconnectedError(), scope)
    assert (response.status_code, response.body) == (CLIENT_CLOSED_REQUEST, b"")
    assert record_of(scope).reason == "client_disconnected"


def test_an_error_holds_nothing_of_its_request(scope: dict[str, Any]) -> None:
    class Body:
        pass

    def fail() -> weakref.ref[Body]:
        body = Body()
        try:
            raise BadRequestError("bad")
        except BadRequestError as error:
            kept.append(error)
        return weakref.ref(body)

    kept: list[Exception] = []
    body = fail()
    gc.collect()
    assert body() is not None  # The traceback holds the frame.
    error_response(kept[0], scope)
    gc.collect()
    assert body() is None
