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
    task = asyncio.current_task()
    watch = asyncio.ensure_future(_cancel_when_hung_up(request, task)) if task else None
    try:
        return await work
    except asyncio.CancelledError:
        if task and watch and watch.done() and task.uncancel() == 0:
            raise ClientDisconnectedError from None
        raise
    finally:
        if watch:
            watch.cancel()


async def _cancel_when_hung_up(request: Request, task: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()
