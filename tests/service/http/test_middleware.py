"""Request ids, errors as JSON, and one log line for each failed request."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from service.http.middleware import JsonErrorMiddleware, RequestMiddleware
from tests.service.http.samples import logged, request


async def ok(_: Request) -> Response:
    return PlainTextResponse("fine")


async def busy(_: Request) -> Response:
    return PlainTextResponse("Not ready.", 503)


async def own(_: Request) -> Response:
    return JSONResponse({"error": "own"}, 400)


ROUTES = [Route("/ok", ok), Route("/busy", busy), Route("/own", own)]


@pytest.fixture(params=[Starlette, Router], ids=["application", "router alone"])
def app(request: pytest.FixtureRequest) -> ASGIApp:
    return RequestMiddleware(JsonErrorMiddleware(request.param(routes=ROUTES)), access_log=False)


@pytest.mark.parametrize(
    ("method", "path", "status", "error", "reason"),
    [
        ("GET", "/nothing", 404, "no such path: /nothing", "no_such_path"),
        ("POST", "/ok", 405, "/ok does not take POST", "no_such_method"),
        ("GET", "/busy", 503, "Not ready.", "not_ready"),
    ],
)
async def test_plain_errors_become_json(
    app: ASGIApp, method: str, path: str, status: int, error: str, reason: str
) -> None:
    with logged("bentoml.edge") as records:
        answer = await request(app, path, method)
    assert answer.status_code == status
    assert answer.json() == {"error": error}
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    (record,) = records
    assert f"status={status} reason={reason} method={method} path={path} " in record.getMessage()


async def test_everything_else_is_left_alone(app: ASGIApp) -> None:
    with logged("bentoml.edge") as records:
        assert (await request(app, "/ok")).text == "fine"
        assert (await request(app, "/own")).json() == {"error": "own"}
    assert not records


async def test_an_id_is_accepted_or_made(app: ASGIApp) -> None:
    assert (await request(app, "/ok", x_request_id="mine-1")).headers["x-request-id"] == "mine-1"
    made = {(await request(app, "/ok", **headers)).headers["x-request-id"] for headers in ({}, {"x_request_id": "a b"})}
    assert {len(one) for one in made} == {32}
    assert len(made) == 2


async def test_the_access_log_has_every_response() -> None:
    app = RequestMiddleware(Router(routes=ROUTES), access_log=True)
    with logged("bentoml.access") as records:
        await request(app, "/ok", x_request_id="mine-1")
    (record,) = records
    assert record.getMessage().startswith("request answered status=200 method=GET path=/ok ms=")
    assert record.getMessage().endswith(" request_id=mine-1")
