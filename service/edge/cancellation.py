"""Cancel work whose client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from service.core.errors import ClientDisconnectedError

T = TypeVar("T")

Disconnected = Callable[[], Awaitable[None]]
"""Waits until the client of a request has disconnected; each transport has its own."""


async def cancel_on_disconnect(work: Coroutine[Any, Any, T], disconnected: Disconnected) -> T:
    """Run `work`, and cancel it as soon as its client disconnects.

    Raises:
        ClientDisconnectedError: The client disconnected.
    """
    task = asyncio.current_task()
    watch = asyncio.ensure_future(_cancel(task, disconnected)) if task else None
    try:
        return await work
    except asyncio.CancelledError:
        if task and watch and watch.done() and task.uncancel() == 0:
            raise ClientDisconnectedError from None
        raise
    finally:
        if watch:
            watch.cancel()


async def _cancel(task: asyncio.Task[Any], disconnected: Disconnected) -> None:
    await disconnected()
    task.cancel()
