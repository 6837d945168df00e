"""Detect that an HTTP client has disconnected."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request

from service.edge.cancellation import Disconnected


def disconnected(request: Request) -> Disconnected:
    """Return a function that waits until the client disconnects; the body of `request` must have been read."""
    return partial(_wait, request)


async def _wait(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
