"""A connection to a runner that answers, stops, goes away, or is of another release."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator

import numpy as np
import pytest

from service.core.errors import (
    DeadlineExceededError,
    ModelNotFoundError,
    NotReadyError,
    ReloadFailedError,
    RunnerLostError,
)
from service.ipc import client, messages
from service.ipc.client import MAX_UNSENT_BYTES, SILENT, Connection, connect
from service.ipc.messages import FrameAddress

from .backend import STATE, Backend, connected, fails, images, request, until


@pytest.fixture
async def stopped(address: FrameAddress) -> AsyncIterator[Connection]:
    """A connection to a runner that never reads; the system accepts connections for a process that is stopped."""
    assert address.path is not None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address.path)
        listener.listen()
        connection = await connect(address, lambda _: None)
        yield connection
        connection.abort()


def narrow(connection: Connection) -> None:
    """Let neither the system nor the transport hold more than a part of an image, whatever the machine allows."""
    assert connection.transport is not None
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
    connection.transport.set_write_buffer_limits(0)


async def test_concurrent_requests_each_get_their_own_response(connection: Connection) -> None:
    sent = [images(1 + number % 5) for number in range(50)]
    results = await asyncio.gather(*(connection.infer(request(connection, pixels), 10) for pixels in sent))
    for pixels, result in zip(sent, results, strict=True):
        assert result.scores[:, 0].tolist() == pixels[:, 0, 0, 0].tolist()
        assert result.batch_size >= 1
        assert result.infer_s > 0


async def test_pixels_larger_than_any_buffer_arrive_whole(connection: Connection, backend: Backend) -> None:
    pixels = images(12, side=299)
    await connection.infer(request(connection, pixels), 10)
    assert np.array_equal(backend.received[0], pixels)


async def test_errors_keep_their_class(connection: Connection, backend: Backend) -> None:
    with pytest.raises(ModelNotFoundError, match="404"):
        await connection.infer(request(connection, images(1), version=404), 10)
    with pytest.raises(Exception, match="its log says why"):
        await connection.infer(request(connection, images(1), version=500), 10)
    backend.engine.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await connection.infer(request(connection, images(1), timeout=0.05), 10)


async def test_a_change_is_known_before_the_error_that_follows_from_it(connection: Connection) -> None:
    with pytest.raises(ModelNotFoundError):
        await connection.infer(request(connection, images(1), version=404), 10)
    assert connection.state is not None
    assert connection.state.default == 2


async def test_cancelling_takes_the_images_out_of_the_queue(connection: Connection, backend: Backend) -> None:
    backend.engine.gate.clear()
    first = asyncio.create_task(connection.infer(request(connection, images(1)), 10))
    await asyncio.to_thread(backend.engine.entered.acquire)
    cancelled = asyncio.create_task(connection.infer(request(connection, images(3)), 10))
    kept = asyncio.create_task(connection.infer(request(connection, images(2)), 10))
    await until(lambda: backend.batcher.images == 5)
    cancelled.cancel()
    await asyncio.sleep(0.05)
    backend.engine.gate.set()
    await asyncio.gather(first, kept)
    assert backend.images_run == 3


async def test_a_response_that_does_not_come_is_waited_for_only_so_long(
    connection: Connection, backend: Backend
) -> None:
    backend.engine.gate.clear()
    with pytest.raises(NotReadyError, match="silent"):
        await connection.infer(request(connection, images(1)), 0.05)


async def test_a_reload_reports_success_failure_and_delay(connection: Connection, backend: Backend) -> None:
    reload = asyncio.create_task(connection.reload(10))
    await until(lambda: len(backend.reloads) == 1)
    backend.change(default=7)
    backend.reloads[0].set_result(None)
    await reload
    assert connection.state is not None
    assert connection.state.default == 7
    reload = asyncio.create_task(connection.reload(10))
    await until(lambda: len(backend.reloads) == 2)
    backend.reloads[1].set_exception(ReloadFailedError("version 2 cannot be served"))
    with pytest.raises(ReloadFailedError, match="version 2"):
        await reload
    with pytest.raises(DeadlineExceededError, match="not done within 50 ms, and continuing"):
        await connection.reload(0.05)


async def test_the_state_of_the_batcher(connection: Connection, backend: Backend) -> None:
    assert await connection.batching() == backend.describe_batching()


async def test_a_runner_that_is_away_is_said_to_be() -> None:
    with pytest.raises(RunnerLostError, match=r"FileNotFoundError.*may be starting again"):
        await connect(FrameAddress("/nowhere/runner.sock.frames"), lambda _: None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(RunnerLostError, match="ConnectionRefusedError"):
            await connect(FrameAddress(None, "127.0.0.1", probe.getsockname()[1]), lambda _: None)


async def test_a_lost_connection_fails_its_requests_and_takes_no_more(connection: Connection, backend: Backend) -> None:
    backend.engine.gate.clear()
    sent = asyncio.create_task(connection.infer(request(connection, images(1)), 10))
    reload = asyncio.create_task(connection.reload(10))
    await until(lambda: bool(backend.reloads) and backend.batcher.running == 1)
    await backend.server.stop()
    for task in (sent, reload):
        assert isinstance(await fails(task), RunnerLostError)
    assert "connection lost" in str(await asyncio.wait_for(connection.wait_ended(), 1))
    assert connection.state is None
    for call in (connection.infer(request(connection, images(1)), 10), connection.reload(10), connection.batching()):
        with pytest.raises(RunnerLostError, match="connection lost"):
            await call


async def test_a_silent_runner_is_noticed_and_one_with_heartbeats_is_not(
    connection: Connection, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CHECK_S", 0.05)
    monkeypatch.setattr(client, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(messages, "HEARTBEAT_S", 0.1)
    backend.server._heartbeat.cancel()  # type: ignore[union-attr]
    backend.server._heartbeat = asyncio.create_task(backend.server._send_heartbeats())
    ended = asyncio.create_task(connection.wait_ended())
    await asyncio.sleep(1)
    assert not ended.done()
    backend.server._heartbeat.cancel()
    error = await asyncio.wait_for(ended, 5)
    assert (error.reason, connection.error) == (SILENT, None)


async def test_an_edge_that_was_held_up_itself_counts_no_silence(
    connection: Connection, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CHECK_S", 0.05)
    monkeypatch.setattr(client, "TIMEOUT_S", 0.2)
    ended = asyncio.create_task(connection.wait_ended())
    await asyncio.sleep(0.07)
    time.sleep(0.5)  # noqa: ASYNC251 -- the event loop stands still
    await asyncio.sleep(0.03)
    assert not ended.done()
    ended.cancel()


async def test_pixels_that_a_stopped_runner_does_not_read_go_with_their_requests(stopped: Connection) -> None:
    pixels = images(16, side=299)
    tracemalloc.start()
    try:
        sent = [asyncio.create_task(stopped.infer(request(stopped, pixels.copy()), 10)) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert tracemalloc.get_traced_memory()[0] > 20 * pixels.nbytes
        for task in sent:
            task.cancel()
        await asyncio.wait(sent)
        sent.clear()
        assert tracemalloc.get_traced_memory()[0] < 2 * pixels.nbytes
    finally:
        tracemalloc.stop()


async def test_pixels_that_wait_for_a_stopped_runner_are_bounded_and_in_the_end_lost(stopped: Connection) -> None:
    pixels = images(16, side=299)
    enough = MAX_UNSENT_BYTES // pixels.nbytes + 2  # The first one is with the transport.
    sent = [asyncio.create_task(stopped.infer(request(stopped, pixels), 10)) for _ in range(enough)]
    await asyncio.sleep(0.05)
    with pytest.raises(NotReadyError, match=r"does not read: 2\d{8} bytes of pixels wait") as refused:
        await stopped.infer(request(stopped, images(1)), 10)
    assert refused.value.retry_after_s == 1
    stopped.abort()
    for task in sent:
        assert "connection lost" in str(await fails(task))


async def test_requests_that_waited_for_the_runner_to_read_on_are_completed_unless_cancelled(
    connection: Connection, backend: Backend
) -> None:
    await connection.infer(request(connection, images(1)), 10)
    (server_side,) = backend.server._connections
    assert server_side.transport is not None
    server_side.transport.pause_reading()
    narrow(connection)
    sent = [images(1 + number, side=299) for number in range(5)]
    tasks = [asyncio.create_task(connection.infer(request(connection, pixels), 10)) for pixels in sent]
    await asyncio.sleep(0.05)
    assert [len(waits.pixels) for waits in connection._unsent.values()] == [2, 3, 4, 5]
    tasks[3].cancel()
    server_side.transport.resume_reading()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for number, (pixels, result) in enumerate(zip(sent, results, strict=True)):
        if number == 3:
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert not isinstance(result, BaseException)
            assert result.scores[:, 0].tolist() == pixels[:, 0, 0, 0].tolist()
    assert backend.images_run == 1 + sum(map(len, sent)) - len(sent[3])


def other_protocol() -> bytes:
    head, body = messages.state_frame(STATE)
    changed = bytearray(head)
    struct.pack_into("<I", changed, 4, 99)
    return bytes(changed) + body


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (other_protocol(), "its protocol has version 99"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "a frame of kind 72"),
        (messages._json_frame(messages.STATE, messages.PROTOCOL_VERSION, 0, b"{}")[0] + b"{}", "validation error"),
    ],
    ids=["protocol", "no protocol", "state"],
)
async def test_a_runner_of_another_release_is_said_to_be(address: FrameAddress, said: bytes, why: str) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    assert address.path is not None
    async with await asyncio.start_unix_server(say, address.path):
        connection = await connect(address, lambda _: None)
        error = await asyncio.wait_for(connection.wait_ended(), 5)
    assert "the runner said what this release does not understand" in str(error)
    assert why in str(error)
    assert "must be of the same release" in str(error)
    assert connection.state is None


LISTEN = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
time.sleep(60)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="sockets name their peers on Linux")


@linux
@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
async def test_the_process_that_listens_is_killed(address: FrameAddress, ended: bool) -> None:
    assert address.path is not None
    command = [sys.executable, "-c", LISTEN, address.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        process.stdout.readline()
        connection = await connect(address, lambda _: None)
        if ended:
            process.kill()
            process.wait()
        assert connection.kill_runner() is not ended
        assert process.wait(10) == -signal.SIGKILL
        await until(lambda: connection.error is not None)
        assert not connection.kill_runner()


@linux
async def test_no_process_kills_itself_or_one_elsewhere(connection: Connection, backend: Backend) -> None:
    assert not connection.kill_runner()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = FrameAddress(None, "127.0.0.1", probe.getsockname()[1])
    other = Backend()
    await other.server.start(address)
    remote = await connected(address)
    assert not remote.kill_runner()
    remote.abort()
    await other.server.stop()
