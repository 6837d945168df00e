"""The request path of the edge, with a real runner's server behind a Unix socket and a synthetic engine."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline, Priority
from service.core.errors import (
    BadRequestError,
    ClientDisconnectedError,
    InvalidImageError,
    ModelNotFoundError,
    NotReadyError,
    PayloadTooLargeError,
)
from service.core.inference import Inference
from service.core.serving_state import ModelInfo, RunnerState
from service.edge.data_plane import DataPlane, Images
from service.ipc.messages import FrameAddress
from service.settings import Settings
from tests.service.ipc.backend import Backend, listening, until

SIDE = 8


def choose(state: RunnerState) -> ModelInfo:
    """Choose the default version."""
    assert state.default is not None
    return ModelInfo(
        name="xception",
        version=state.default,
        digest="sha256:1",
        labels=(),
        variant="synthetic/fp32",
        input=InputContract(height=SIDE, width=SIDE),
        classes=("one",),
        signatures={},
    )


async def connected() -> None:
    """Wait for the disconnect of a client that stays."""
    await asyncio.Event().wait()


def png(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (2 * SIDE, SIDE), level).save(out, "PNG")
    return out.getvalue()


def pixels(count: int, side: int = SIDE) -> Images:
    return np.full((count, side, side, 3), 7, np.uint8)


@pytest.fixture
def address(tmp_path: Path) -> FrameAddress:
    return FrameAddress(str(tmp_path / "runner.sock.frames"))


@pytest.fixture
async def backend(address: FrameAddress) -> AsyncIterator[Backend]:
    async with listening(address) as backend:
        yield backend


@pytest.fixture
async def plane(backend: Backend, tmp_path: Path) -> AsyncIterator[DataPlane]:
    made = DataPlane(Settings(queue_max_mib=1, decode_threads=1))
    await made.start(f"file://{tmp_path / 'runner.sock'}", 0)
    yield made
    await made.stop()


async def infer(plane: DataPlane, images: Images, disconnected: Callable[[], Awaitable[None]] = connected) -> Inference:
    with plane.admit(Deadline(10), Priority.INTERACTIVE, 100, None) as permit:
        return await plane.infer(images, choose, permit, disconnected)


async def test_encoded_images_are_decoded_and_scored_in_order(plane: DataPlane, backend: Backend) -> None:
    inference = await infer(plane, [png(level) for level in (3, 200, 90)])
    assert inference.result.scores.ravel().tolist() == [3, 200, 90]
    assert inference.model.version == 1
    assert inference.decode_s > 0
    assert inference.started_at + inference.decode_s <= inference.ended_at
    assert backend.received[0].shape == (3, SIDE, SIDE, 3)


async def test_pixels_are_sent_as_they_are_if_they_fit_the_input(plane: DataPlane) -> None:
    assert (await infer(plane, pixels(2))).result.scores.ravel().tolist() == [7, 7]
    with pytest.raises(BadRequestError, match=r"shape \[9, 9, 3\]; the model takes \[8, 8, 3\]"):
        await infer(plane, pixels(1, side=9))


async def test_a_request_over_a_limit_never_reaches_the_runner(plane: DataPlane, backend: Backend) -> None:
    with pytest.raises(PayloadTooLargeError, match="QUEUE_MAX_MIB"):
        await infer(plane, pixels(2**20 // (3 * SIDE * SIDE) + 1))
    with pytest.raises(InvalidImageError) as error:
        await infer(plane, [png(1), b"no image"])
    assert error.value.index == 1
    assert backend.received == []
    assert (plane.admission.requests, sum(plane.admission.images.values())) == (0, 0)


async def test_images_count_while_a_request_is_in_flight(plane: DataPlane, backend: Backend) -> None:
    backend.engine.gate.clear()
    work = asyncio.create_task(infer(plane, pixels(3)))
    await until(lambda: len(backend.received) == 1)
    assert plane.admission.queue_ahead(Priority.INTERACTIVE) == 3
    backend.engine.gate.set()
    await work
    assert plane.admission.queue_ahead(Priority.INTERACTIVE) == 0
    assert plane.admission.seconds_per_image[Priority.INTERACTIVE] > 0


async def test_a_version_that_is_swapped_out_meanwhile_is_chosen_again(plane: DataPlane, backend: Backend) -> None:
    backend.change(default=404)  # The runner has version 2 by the time the request arrives.
    await until(lambda: plane.runner.ready)
    inference = await infer(plane, pixels(1))
    assert inference.model.version == 2
    assert len(backend.received) == 1


async def test_a_version_that_is_not_found_again_is_an_error(plane: DataPlane, backend: Backend) -> None:
    def never(state: RunnerState) -> ModelInfo:
        return choose(state).model_copy(update={"version": 404})

    with plane.admit(Deadline(10), Priority.INTERACTIVE, 100, None) as permit, pytest.raises(ModelNotFoundError):
        await plane.infer(pixels(1), never, permit, connected)


async def test_a_request_is_retried_once_on_the_next_runner(
    plane: DataPlane, backend: Backend, address: FrameAddress
) -> None:
    backend.engine.gate.clear()
    work = asyncio.create_task(infer(plane, pixels(1)))
    await until(lambda: len(backend.received) == 1)
    await backend.server.stop()
    async with listening(address) as following:
        following.change(process="b", default=3)
        inference = await work
        assert inference.model.version in (1, 3)  # By the state that the edge has received.
        assert len(following.received) == 1


async def test_the_work_of_a_client_that_disconnects_leaves_the_queue(plane: DataPlane, backend: Backend) -> None:
    backend.engine.gate.clear()
    running = asyncio.create_task(infer(plane, pixels(1)))
    await until(lambda: backend.batcher.running == 1)
    gone = asyncio.Event()

    async def disconnected() -> None:
        await gone.wait()

    queued = asyncio.create_task(infer(plane, pixels(2), disconnected))
    await until(lambda: backend.batcher.images == 2)
    gone.set()
    with pytest.raises(ClientDisconnectedError):
        await queued
    assert plane.admission.requests == 1
    backend.engine.gate.set()
    await running
    await until(lambda: backend.batcher.images == 0)
    assert backend.images_run == 1


async def test_a_plane_that_stops_admits_no_request(plane: DataPlane) -> None:
    plane.admission.close()
    with pytest.raises(NotReadyError, match="shutting down"):
        plane.admit(Deadline(10), Priority.INTERACTIVE, 0, None)
