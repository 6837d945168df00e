"""The hop between edge and runner over real sockets, with a real batcher behind it."""

from __future__ import annotations

import asyncio
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching.batcher import Batcher
from service.batching.queue_entry import QueuedRequest
from service.batching.tuning import BatchProfile
from service.core.deadline import Deadline, Priority
from service.core.errors import DeadlineExceededError, ModelNotFoundError, NotReadyError
from service.ipc.client import MAX_UNSENT_BYTES, FrameClient
from service.ipc.messages import HEAD_BYTES, FrameAddress, InferenceRequest
from service.ipc.server import FrameServer

MAX_BYTES = 2**22


class Silent:
    def batch_finished(self, images: int, seconds: float) -> None: ...

    def images_dropped(self, reason: str, images: int) -> None: ...


@dataclass(eq=False)
class Brightness:
    """An engine whose scores are the mean of each image, and the number of its batch."""

    profile: BatchProfile = field(default_factory=lambda: BatchProfile(1, 4))
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    images: int = 0

    def run(self, pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
        self.entered.release()
        assert self.gate.wait(10)
        self.images += len(pixels)
        return pixels.reshape(len(pixels), -1).mean(axis=1, dtype=np.float32)[:, None]


@dataclass
class Runner:
    """What stands behind the frames."""

    engine: Brightness
    batcher: Batcher
    server: FrameServer

    def enqueue(self, request: InferenceRequest) -> QueuedRequest:
        if request.version == 404:
            raise ModelNotFoundError("version 404 is not available")
        if request.version == 500:
            raise RuntimeError("a bug")
        return self.batcher.enqueue(self.engine, request.pixels, request.deadline, request.priority)


@pytest.fixture
def address(tmp_path: Path) -> FrameAddress:
    return FrameAddress(str(tmp_path / "runner.sock.frames"))


@pytest.fixture
async def runner(address: FrameAddress) -> AsyncIterator[Runner]:
    batcher = Batcher(Silent(), max_images=256, max_bytes=MAX_BYTES)
    batcher.start()
    made = Runner(Brightness(), batcher, FrameServer(lambda request: made.enqueue(request), MAX_BYTES))
    made.engine.gate.set()
    await made.server.start(address)
    yield made
    made.engine.gate.set()
    await batcher.stop()
    await made.server.stop()


@pytest.fixture
async def client(runner: Runner, address: FrameAddress) -> AsyncIterator[FrameClient]:
    made = FrameClient(address, lambda: None)
    yield made
    made.close()


@pytest.fixture
def stopped(address: FrameAddress) -> Iterator[FrameClient]:
    """A client of a runner that never reads; the system takes connections for a process that is stopped."""
    assert address.path is not None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address.path)
        listener.listen()
        yield FrameClient(address, lambda: None)


def request(
    client: FrameClient, pixels: NDArray[np.uint8], version: int = 1, timeout: float = 10.0
) -> InferenceRequest:
    return InferenceRequest(client.number(), version, Deadline(timeout), Priority.INTERACTIVE, pixels)


def narrow(client: FrameClient) -> None:
    """Let neither the system nor the transport hold more than a part of an image, whatever the machine allows."""
    assert client._connection is not None
    transport = client._connection.transport
    assert transport is not None
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
    transport.set_write_buffer_limits(0)


def images(count: int, side: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 255, (count, side, side, 3), np.uint8)


async def queued(runner: Runner, waiting: int) -> None:
    """Wait until so many images wait in the runner."""
    for _ in range(1000):
        if runner.batcher.images == waiting:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{runner.batcher.images} images wait")


async def test_many_questions_at_once_each_get_their_own_answer(client: FrameClient) -> None:
    asked = [images(1 + number % 5) for number in range(50)]
    answers = await asyncio.gather(*(client.ask(request(client, pixels), 10) for pixels in asked))
    for pixels, answer in zip(asked, answers, strict=True):
        assert answer.scores.shape == (len(pixels), 1)
        assert answer.scores[:, 0] == pytest.approx(pixels.reshape(len(pixels), -1).mean(axis=1))
        assert answer.batch_size >= 1
        assert answer.infer_s > 0


async def test_pixels_larger_than_any_buffer_arrive_whole(client: FrameClient) -> None:
    pixels = images(12, side=299)
    answer = await client.ask(request(client, pixels), 10)
    assert answer.scores[:, 0] == pytest.approx(pixels.reshape(12, -1).mean(axis=1))


async def test_errors_come_out_as_the_class_that_they_were(client: FrameClient, runner: Runner) -> None:
    with pytest.raises(ModelNotFoundError, match="404"):
        await client.ask(request(client, images(1), version=404), 10)
    with pytest.raises(Exception, match="its log says why"):
        await client.ask(request(client, images(1), version=500), 10)
    runner.engine.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await client.ask(request(client, images(1), timeout=0.05), 10)


async def test_who_gives_up_takes_its_images_out_of_the_queue(client: FrameClient, runner: Runner) -> None:
    runner.engine.gate.clear()
    first = asyncio.create_task(client.ask(request(client, images(1)), 10))
    await asyncio.to_thread(runner.engine.entered.acquire)
    cancelled = asyncio.create_task(client.ask(request(client, images(3)), 10))
    kept = asyncio.create_task(client.ask(request(client, images(2)), 10))
    await queued(runner, 5)
    cancelled.cancel()
    await asyncio.sleep(0.05)
    runner.engine.gate.set()
    await asyncio.gather(first, kept)
    assert runner.engine.images == 3


async def test_an_edge_that_goes_leaves_nothing_to_do(client: FrameClient, runner: Runner) -> None:
    runner.engine.gate.clear()
    asked = [asyncio.create_task(client.ask(request(client, images(1)), 10)) for _ in range(6)]
    await asyncio.to_thread(runner.engine.entered.acquire)
    await queued(runner, 5)
    client.close()
    for task in asked:
        with pytest.raises(NotReadyError, match="connection lost"):
            await task
    await asyncio.sleep(0.05)
    runner.engine.gate.set()
    await runner.batcher.stop()
    assert runner.engine.images == 1


async def test_a_runner_that_is_away_is_said_to_be_and_found_again(
    client: FrameClient, runner: Runner, address: FrameAddress
) -> None:
    assert await client.ask(request(client, images(1)), 10)
    await runner.server.stop()
    await asyncio.sleep(0.02)
    with pytest.raises(NotReadyError, match="may be starting again"):
        await client.ask(request(client, images(1)), 10)
    assert address.path is not None
    with socket.socket(socket.AF_UNIX) as left_behind:  # As by a runner that was killed.
        left_behind.bind(address.path)
    await runner.server.start(address)
    assert await client.ask(request(client, images(1)), 10)


async def test_a_silent_runner_is_waited_for_only_so_long(client: FrameClient, runner: Runner) -> None:
    runner.engine.gate.clear()
    with pytest.raises(NotReadyError, match="silent"):
        await client.ask(request(client, images(1)), 0.05)


async def test_what_a_stopped_runner_does_not_read_goes_with_those_who_gave_up(stopped: FrameClient) -> None:
    pixels = images(16, side=299)
    tracemalloc.start()
    try:
        asked = [asyncio.create_task(stopped.ask(request(stopped, pixels.copy()), 10)) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert tracemalloc.get_traced_memory()[0] > 20 * pixels.nbytes
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        asked.clear()
        assert tracemalloc.get_traced_memory()[0] < 2 * pixels.nbytes
    finally:
        tracemalloc.stop()
        stopped.close()


async def test_what_waits_for_a_stopped_runner_is_bounded_and_in_the_end_lost(stopped: FrameClient) -> None:
    pixels = images(16, side=299)
    enough = MAX_UNSENT_BYTES // pixels.nbytes + 2  # The first one is with the transport.
    asked = [asyncio.create_task(stopped.ask(request(stopped, pixels), 10)) for _ in range(enough)]
    await asyncio.sleep(0.05)
    with pytest.raises(NotReadyError, match=r"does not read: 2\d{8} bytes of pixels wait") as refused:
        await stopped.ask(request(stopped, images(1)), 10)
    assert refused.value.retry_after_s == 1
    stopped.close()
    for task in asked:
        with pytest.raises(NotReadyError, match="connection lost"):
            await task


async def test_what_waited_for_a_runner_to_read_on_is_answered_but_for_what_was_given_up(
    client: FrameClient, runner: Runner
) -> None:
    await client.ask(request(client, images(1)), 10)
    (connection,) = runner.server._connections
    assert connection.transport is not None
    connection.transport.pause_reading()
    narrow(client)
    asked = [images(1 + number, side=299) for number in range(5)]
    tasks = [asyncio.create_task(client.ask(request(client, pixels), 10)) for pixels in asked]
    await asyncio.sleep(0.05)
    assert client._connection is not None
    assert [len(waits.pixels) for waits in client._connection._unsent.values()] == [2, 3, 4, 5]
    tasks[3].cancel()
    connection.transport.resume_reading()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, (pixels, answer) in enumerate(zip(asked, answers, strict=True)):
        if number == 3:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert not isinstance(answer, BaseException)
            assert answer.scores[:, 0] == pytest.approx(pixels.reshape(len(pixels), -1).mean(axis=1))
    assert runner.engine.images == 1 + sum(map(len, asked)) - len(asked[3])


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nHost: runner\r\n\r\n".ljust(HEAD_BYTES), bytes(HEAD_BYTES), b"\xff" * HEAD_BYTES]
)
async def test_what_is_no_frame_ends_the_connection(runner: Runner, address: FrameAddress, head: bytes) -> None:
    assert address.path is not None
    reader, writer = await asyncio.open_unix_connection(address.path)
    writer.write(head)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_question_beyond_the_bounds_ends_the_connection(client: FrameClient) -> None:
    with pytest.raises(NotReadyError, match="connection lost"):
        await client.ask(request(client, images(16, side=299)), 10)


async def test_over_tcp(runner: Runner) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = FrameServer(runner.enqueue, MAX_BYTES)
    address = FrameAddress.beside("http://127.0.0.1:3000", port)
    await server.start(address)
    client = FrameClient(address, lambda: None)
    assert (await client.ask(request(client, images(2)), 10)).scores.shape == (2, 1)
    client.close()
    await server.stop()


def test_where_a_runner_takes_frames() -> None:
    assert FrameAddress.beside("file:///tmp/a%20b/runner.sock", 7) == FrameAddress("/tmp/a b/runner.sock.frames")
    assert FrameAddress.beside("http://runner:3000", 7) == FrameAddress(None, "runner", 7)
