"""The routes of all APIs before a runner whose state is given."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from starlette.routing import Router

from service.core.serving_state import RunnerState, VersionState, VersionStatus
from service.edge.data_plane import DataPlane
from service.http.http_edge import HttpEdge
from service.http.middleware import JsonErrorMiddleware
from service.protocols.apis import http_routes
from service.settings import Settings
from tests.service.protocols.open_inference.samples import MODEL

TOKEN = "the administrator's token"

STATE = RunnerState(
    name="cats",
    process="a",
    changes=1,
    waiting_for=None,
    default=3,
    labels={"stable": 3},
    versions=(VersionStatus(version=3, digest=MODEL.digest, state=VersionState.AVAILABLE),),
    served=(MODEL,),
)


def make_edge(state: Callable[[], RunnerState]) -> HttpEdge:
    edge = HttpEdge(DataPlane(Settings(model_name="cats", admin_token=TOKEN)))

    async def current() -> RunnerState:
        return state()

    edge.runner.state = current  # type: ignore[method-assign]
    return edge


class Client:
    """Sends requests to the routes, within the process."""

    def __init__(self) -> None:
        self.state = STATE
        app = JsonErrorMiddleware(Router(routes=http_routes(make_edge(lambda: self.state))))
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self._client.get(path, headers=headers)

    async def post(self, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        return await self._client.post(path, content=body, headers=headers)
