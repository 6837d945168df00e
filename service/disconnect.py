"""Work that ends when its caller hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


class ClientDisconnectedError(Exception):
    """The caller hung up before its answer was there; nobody reads what is sent now."""


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, whose request has been read to its end, and cancel it as soon as the caller hangs up.

    Raises:
        ClientDisconnectedError: The caller hung up.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnectedError
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
