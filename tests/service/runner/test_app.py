"""A runner without a model: what it sends to its edges, and what it can be asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.core.errors import NotReadyError
from service.ipc.client import Connection
from service.ipc.messages import FrameAddress
from service.runner.app import Runner
from service.settings import Settings
from tests.service.ipc.backend import connected, images, request, until


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    (tmp_path / "store").mkdir()
    settings = Settings(
        model_store_url=f"file://{tmp_path / 'store'}", model_cache_dir=tmp_path / "cache", drain_timeout_s=1
    )
    made = Runner(settings)
    await made.start(FrameAddress(str(tmp_path / "runner.sock.frames")))
    yield made
    await made.stop()


@pytest.fixture
async def connection(runner: Runner, tmp_path: Path) -> AsyncIterator[Connection]:
    made = await connected(FrameAddress(str(tmp_path / "runner.sock.frames")))
    yield made
    made.abort()


def waits_for(connection: Connection) -> str:
    assert connection.state is not None
    return connection.state.waiting_for or ""


async def test_edges_learn_what_is_waited_for_and_requests_are_rejected_with_it(connection: Connection) -> None:
    await until(lambda: "holds no model 'xception'" in waits_for(connection))
    with pytest.raises(NotReadyError, match="holds no model 'xception'"):
        await connection.infer(request(connection, images(1)), 10)


async def test_a_reload_that_fails_says_why(connection: Connection) -> None:
    with pytest.raises(Exception, match="holds no model 'xception'"):
        await connection.reload(10)


async def test_the_state_of_the_batcher(connection: Connection, runner: Runner) -> None:
    assert await connection.batching() == runner.describe_batching()


async def test_http_has_the_metrics_and_nothing_else(runner: Runner) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(runner.app()), base_url="http://runner") as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert "\nxception_ready 0.0\n" in answer.text
        for path in ("/models", "/reload", "/batching"):
            assert (await client.get(path)).status_code == 404
