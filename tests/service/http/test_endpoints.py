"""Endpoints: a response or an error, and what is noted of it."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Router

from service.core.errors import NotReadyError
from service.http.endpoints import InferenceEndpoint, JsonEndpoint
from service.http.responses import InferenceResponse
from service.http.scope import record_of
from tests.service.http.samples import inference, logged, request


async def fine(_: Request) -> Response:
    return PlainTextResponse("fine")


async def failing(request: Request) -> Response:
    if request.url.path == "/away":
        raise NotReadyError("no model yet", retry_after_s=7)
    raise RuntimeError("a secret")


async def test_a_response_is_sent() -> None:
    assert (await request(JsonEndpoint(fine))).text == "fine"


@pytest.mark.parametrize("make", [JsonEndpoint, lambda endpoint: InferenceEndpoint("route", endpoint)])
async def test_an_error_becomes_a_response(make: type[JsonEndpoint]) -> None:
    answer = await request(make(failing), "/away")
    assert (answer.status_code, answer.json()) == (503, {"error": "no model yet"})
    assert answer.headers["retry-after"] == "7"
    with logged("bentoml.edge") as records:
        answer = await request(make(failing), "/other")
    assert (answer.status_code, answer.json()) == (500, {"error": "the service failed; its log says why"})
    assert records[0].exc_info is not None


async def test_an_inference_is_noted_with_its_route() -> None:
    async def infer(request: Request) -> InferenceResponse:
        seen.append(request)
        return InferenceResponse(b"{}", inference(), headers={"X-More": "1"})

    seen: list[Request] = []
    answer = await request(Router(default=InferenceEndpoint("classify", infer)))
    assert answer.headers["x-model-version"] == "3"
    assert answer.headers["x-batch-size"] == "4"
    assert answer.headers["x-more"] == "1"
    assert answer.headers["server-timing"] == "decode;dur=3.00, queue;dur=1.00, infer;dur=2.00"
    record = record_of(seen[0].scope)
    assert record.route == "classify"
    assert record.inference is not None
