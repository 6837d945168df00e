"""Administrative routes are closed to everybody without the token."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from service.core.errors import AccessDeniedError
from service.protocols.admin import require_token
from tests.service.protocols.edge import TOKEN, Client


def request(authorization: str) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", authorization.encode("latin-1"))]})


def test_the_token_opens() -> None:
    for authorization in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        require_token(request(authorization), TOKEN)


@pytest.mark.parametrize("authorization", ["", "Bearer", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"])
def test_nothing_else_does(authorization: str) -> None:
    with pytest.raises(AccessDeniedError, match="send the token"):
        require_token(request(authorization), TOKEN)
    with pytest.raises(AccessDeniedError, match="are closed"):
        require_token(request(authorization), None)


async def test_routes(client: Client) -> None:
    assert (await client.get("/debug/batching")).status_code == 401
    assert (await client.post("/v1/models/cats/reload")).status_code == 401
    answer = await client.post("/v1/models/dogs/reload", Authorization=f"Bearer {TOKEN}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Could not find any versions of model dogs"})
    answer = await client.get("/debug/batching", Authorization=f"Bearer {TOKEN}")
    assert (answer.status_code, answer.json()) == (503, {"error": "the runner does not answer yet"})
