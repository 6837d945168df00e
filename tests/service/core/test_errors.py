from __future__ import annotations

import orjson
import pytest

from service.core.errors import ClientDisconnectedError, InferenceError, ServiceError, error_classes
from service.http.responses import error_response
from service.ipc.messages import error_body, read_error

SCOPE = {"type": "http", "method": "POST", "path": "/classify", "headers": []}


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.__name__)
def test_each_maps_to_a_status_and_a_body_and_survives_the_hop(kind: type[ServiceError]) -> None:
    error = kind("the reason")
    answer = error_response(error, SCOPE)
    assert answer.status_code == kind.status
    assert answer.headers["content-type"] == "application/json"
    assert orjson.loads(answer.body) == {"error": "the reason"}
    assert ("retry-after" in answer.headers) == (kind.status in (429, 503))
    assert answer.headers.get("www-authenticate") == ("Bearer" if kind.status == 401 else None)
    hopped = read_error(error_body(error))
    assert type(hopped) is kind
    assert (str(hopped), hopped.retry_after_s, hopped.reason) == (str(error), error.retry_after_s, error.reason)


def test_every_class_has_a_place_in_the_tree_at_the_top_of_the_file() -> None:
    from service.core import errors

    assert errors.__doc__ is not None
    for kind in error_classes():
        line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__}" in line)
        assert kind is ServiceError or str(int(kind.status)) in line


def test_what_is_not_ours_is_500_and_keeps_its_text_to_itself() -> None:
    answer = error_response(RuntimeError("secret"), SCOPE)
    assert answer.status_code == 500
    assert b"secret" not in answer.body


def test_unknown_kind_from_a_newer_runner_is_internal() -> None:
    assert type(ServiceError.from_wire("NewError", "x")) is InferenceError


def test_a_client_that_disconnected_is_499() -> None:
    assert error_response(ClientDisconnectedError(), SCOPE).status_code == 499
