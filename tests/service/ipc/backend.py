"""A runner's server with a real batcher behind it, and what tests do with a connection to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching.batcher import Batcher
from service.batching.queued_request import QueuedRequest
from service.core.deadline import Deadline, Priority
from service.core.errors import ModelNotFoundError, ServiceError
from service.core.serving_state import BatchingState, RunnerState
from service.ipc.client import Connection, connect
from service.ipc.messages import FrameAddress, InferenceRequest
from service.ipc.server import FrameServer
from tests.service.synthetic_engine import Observed, SyntheticEngine

MAX_BYTES = 2**22

STATE = RunnerState(name="xception", process="a", waiting_for=None, default=1, labels={}, versions=(), served=())


class Backend:
    """A batcher with a synthetic engine; version 404 does not exist, version 500 is a bug."""

    def __init__(self) -> None:
        self.engine = SyntheticEngine()
        self.batcher = Batcher(Observed(), max_images=256, max_bytes=MAX_BYTES)
        self.server = FrameServer(self, MAX_BYTES)
        self.state = STATE
        self.received: list[NDArray[np.uint8]] = []
        self.reloads: list[asyncio.Future[None]] = []

    def enqueue(self, request: InferenceRequest) -> QueuedRequest:
        if request.version == 404:
            self.change(default=2)
            raise ModelNotFoundError("version 404 is not available")
        if request.version == 500:
            raise RuntimeError("a bug")
        self.received.append(request.pixels)
        return self.batcher.enqueue(self.engine, request.pixels, request.deadline, request.priority)

    async def reload(self) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reloads.append(done)
        await done

    def describe(self) -> RunnerState:
        return self.state

    def describe_batching(self) -> BatchingState:
        return BatchingState(
            queue_images=self.batcher.images,
            queue_images_max=256,
            queue_bytes=0,
            queue_bytes_max=MAX_BYTES,
            queue_seconds=0.0,
            running_batches=self.batcher.running,
            versions=(),
        )

    def change(self, **changes: object) -> None:
        self.state = self.state.model_copy(update=changes)
        self.server.publish_state()

    @property
    def images_run(self) -> int:
        return sum(map(len, self.engine.batches))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- of another task
            await asyncio.sleep(0.005)


async def connected(address: FrameAddress) -> Connection:
    connection = await connect(address, lambda _: None)
    await until(lambda: connection.state is not None)
    return connection


def request(
    connection: Connection, pixels: NDArray[np.uint8], version: int = 1, timeout: float = 10.0
) -> InferenceRequest:
    return InferenceRequest(connection.number(), version, Deadline(timeout), Priority.INTERACTIVE, pixels)


def images(count: int, side: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 255, (count, side, side, 3), np.uint8)


async def fails(work: asyncio.Task[object]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await work
    return caught.value
