"""This service's routes pass by what stands around the others."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.server.bypass import MiddlewareBypass


class Counted:
    """Counts the requests that pass through it."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        await self.app(scope, receive, send)


async def start(app: ASGIApp) -> None:
    """Start an application as a server does, and stop it."""
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_only_the_prefixes_take_the_shortcut() -> None:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.app.state.name} {request.url.path}")

    inner = Starlette(routes=[Route("/v1/models", answer)])
    inner.state.name = "inner"
    seen: list[str] = []
    outer = Starlette(
        routes=[Route("/livez", answer), Route("/v1/models", answer)],
        middleware=[
            Middleware(Counted, seen=seen),
            Middleware(MiddlewareBypass, bypass=inner, prefixes=("/v1/",)),
        ],
    )
    outer.state.name = "outer"
    await start(outer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://test") as client:
        assert (await client.get("/v1/models")).text == "inner /v1/models"
        assert (await client.get("/v1/nothing")).status_code == 404
        assert (await client.get("/livez")).text == "outer /livez"
        assert (await client.get("/v1")).status_code == 404
    assert seen == ["/livez", "/v1"]
