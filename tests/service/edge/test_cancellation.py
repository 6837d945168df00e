"""Work whose client disconnects."""

from __future__ import annotations

import asyncio

import pytest

from service.core.errors import ClientDisconnectedError
from service.edge.cancellation import cancel_on_disconnect


async def test_work_that_is_done_first_returns_its_result() -> None:
    async def disconnected() -> None:
        await asyncio.Event().wait()

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await cancel_on_disconnect(work(), disconnected) == "done"
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1  # The watch of the client is cancelled.


async def test_work_is_cancelled_when_its_client_disconnects() -> None:
    connection, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        connection.set()
        try:
            await asyncio.sleep(10)
        finally:
            ended.set()

    async def disconnected() -> None:
        await connection.wait()

    with pytest.raises(ClientDisconnectedError):
        await cancel_on_disconnect(work(), disconnected)
    assert ended.is_set()
    await asyncio.sleep(0)  # The task itself is not cancelled.


async def test_an_error_of_the_work_is_raised() -> None:
    async def disconnected() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await cancel_on_disconnect(work(), disconnected)


async def test_a_task_cancelled_from_outside_stays_cancelled() -> None:
    async def disconnected() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(cancel_on_disconnect(asyncio.sleep(10), disconnected))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
