"""The edge's client of a runner that changes, restarts, stops, hangs, or is of another release."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline, Priority
from service.core.errors import DeadlineExceededError, RunnerLostError
from service.core.serving_state import ModelInfo
from service.edge.admission import Admission, Permit
from service.edge.runner_client import RunnerClient
from service.ipc import client as ipc_client
from service.ipc.messages import FrameAddress
from service.telemetry import metrics
from tests.server import ROOT
from tests.service.ipc.backend import Backend, images, until

MODEL = ModelInfo(
    name="xception",
    version=1,
    digest="sha256:1",
    labels=(),
    variant="synthetic/fp32",
    input=InputContract(height=8, width=8),
    classes=("one",),
    signatures={},
)


@contextmanager
def permit(timeout_s: float = 10.0) -> Iterator[Permit]:
    with Admission(1, 2**20).admit(Deadline(timeout_s), Priority.INTERACTIVE, 100, None) as made:
        yield made


async def scores(client: RunnerClient, count: int = 1) -> list[float]:
    with permit() as held:
        result = await client.submit(images(count), MODEL, held)
    first: list[float] = result.scores[:, 0].tolist()
    return first


async def serve(address: FrameAddress, process: str) -> Backend:
    backend = Backend()
    backend.state = backend.state.model_copy(update={"process": process})
    backend.batcher.start()
    await backend.server.start(address)
    return backend


async def end(backend: Backend) -> None:
    backend.engine.gate.set()
    await backend.batcher.stop()
    await backend.server.stop()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "runner.sock")


@pytest.fixture
async def client(path: str) -> AsyncIterator[RunnerClient]:
    """A client of a runner that is not there yet."""
    made = RunnerClient()
    await made.start(f"file://{path}", 0)
    yield made
    await made.stop()


@pytest.fixture
async def backend(path: str) -> AsyncIterator[Backend]:
    made = await serve(FrameAddress(f"{path}.frames"), "a")
    yield made
    await end(made)


async def test_the_state_is_known_before_the_first_request_and_followed(backend: Backend, client: RunnerClient) -> None:
    assert not client.ready
    assert (await client.state()).default == 1
    assert client.ready
    assert await scores(client, 2) == images(2)[:, 0, 0, 0].tolist()
    backend.change(default=None, waiting_for="nothing")
    await until(lambda: not client.ready)
    assert (await client.state()).waiting_for == "nothing"


async def test_a_runner_that_is_not_there_is_reported_at_once_and_found_later(client: RunnerClient, path: str) -> None:
    for call in (client.state(), client.reload(1), client.batching(), scores(client)):
        with pytest.raises(RunnerLostError, match="does not answer"):
            await asyncio.wait_for(call, 1)
    waiting = asyncio.create_task(client.wait_until_available(Deadline(10)))
    await asyncio.sleep(0.05)
    backend = await serve(FrameAddress(f"{path}.frames"), "a")
    assert (await waiting).default == 1
    await end(backend)


async def test_a_restart_fails_the_requests_in_progress_and_is_counted(
    backend: Backend, client: RunnerClient, path: str
) -> None:
    await client.state()
    before = metrics.RUNNER_RESTARTS._value.get()
    backend.engine.gate.clear()
    sent = asyncio.create_task(scores(client))
    await asyncio.to_thread(backend.engine.entered.acquire)
    await backend.server.stop()
    with pytest.raises(RunnerLostError):
        await sent
    with pytest.raises(RunnerLostError, match="connection lost"):
        await client.state()
    with pytest.raises(RunnerLostError, match="not back within the deadline"):
        await client.wait_until_available(Deadline(0.01))
    waiting = asyncio.create_task(client.wait_until_available(Deadline(10)))
    successor = await serve(FrameAddress(f"{path}.frames"), "b")
    assert (await waiting).process == "b"
    assert metrics.RUNNER_RESTARTS._value.get() == before + 1
    assert await scores(client)
    await end(successor)


async def test_a_reload_returns_the_new_state_or_its_delay(backend: Backend, client: RunnerClient) -> None:
    await client.state()
    reload = asyncio.create_task(client.reload(10))
    await until(lambda: bool(backend.reloads))
    backend.change(default=2)
    backend.reloads[0].set_result(None)
    assert (await reload).default == 2
    with pytest.raises(DeadlineExceededError, match="continuing"):
        await client.reload(0.01)


async def test_the_state_of_the_batcher(backend: Backend, client: RunnerClient) -> None:
    await client.state()
    assert await client.batching() == backend.describe_batching()


async def test_a_runner_that_drains_completes_its_requests_while_the_next_one_serves() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = FrameAddress.beside("http://127.0.0.1:3000", port)
    first = await serve(address, "a")
    client = RunnerClient()
    await client.start("http://127.0.0.1:3000", port)
    await client.state()
    first.engine.gate.clear()
    sent = asyncio.create_task(scores(client, 2))
    await asyncio.to_thread(first.engine.entered.acquire)
    drain = asyncio.create_task(first.server.drain(10))
    await until(lambda: not client.ready)
    second = await serve(address, "b")
    assert (await client.wait_until_available(Deadline(10))).process == "b"
    assert await scores(client)
    first.engine.gate.set()
    assert await sent == images(2)[:, 0, 0, 0].tolist()
    await drain
    assert len(second.received) == 1
    await client.stop()
    await end(first)
    await end(second)


async def test_a_runner_of_another_release_is_logged_once_and_the_next_one_is_found(
    client: RunnerClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    connections = 0

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(bytes(48))

    async with await asyncio.start_unix_server(say, f"{path}.frames"):
        await until(lambda: connections > 2)
        assert not client.ready
        with pytest.raises(RunnerLostError, match="must be of the same release"):
            await client.state()
    backend = await serve(FrameAddress(f"{path}.frames"), "a")
    await until(lambda: client.ready)
    (record,) = [record for record in caplog.records if "same release" in record.message]
    assert record.levelno == logging.ERROR
    await end(backend)


RUNNER = """
import asyncio, sys
from service.ipc.messages import FrameAddress
from tests.service.ipc.backend import Backend

async def main():
    await Backend().server.start(FrameAddress(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""

STARTING = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
time.sleep(60)
"""


@contextmanager
def process_of(script: str, path: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, f"{path}.frames"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a runner as silent after a moment."""
    monkeypatch.setattr(ipc_client, "_CHECK_S", 0.05)
    monkeypatch.setattr(ipc_client, "TIMEOUT_S", 0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="sockets name their peers on Linux")
@pytest.mark.usefixtures("soon")
async def test_a_runner_that_stands_still_is_killed(
    client: RunnerClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with process_of(RUNNER, path) as process:
        await until(lambda: client.ready)
        process.send_signal(signal.SIGSTOP)
        assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL
    await until(lambda: not client.ready)
    assert "was killed; another takes its place" in caplog.text


@pytest.mark.usefixtures("soon")
async def test_a_runner_that_has_said_nothing_yet_is_left_alone(client: RunnerClient, path: str) -> None:
    with process_of(STARTING, path) as process:
        await asyncio.sleep(2)
        assert process.poll() is None
        with pytest.raises(RunnerLostError, match="may be stuck"):
            await client.state()
