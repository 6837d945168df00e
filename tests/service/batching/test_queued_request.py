"""A request in the queue: its slices, its result, its deadline."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.batching.queued_request import BatchSlice, QueuedRequest
from service.core.deadline import Deadline, Priority
from service.core.errors import DeadlineExceededError, InferenceError
from tests.service.synthetic_engine import SyntheticEngine, images


def queued(*values: int, timeout: float = 10.0) -> QueuedRequest:
    future = asyncio.get_running_loop().create_future()
    request = QueuedRequest(SyntheticEngine(), images(*values), Deadline(timeout), Priority.INTERACTIVE, future)
    request.start_deadline_timer()
    return request


def scores(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, np.float32)[:, None]


async def test_the_scores_of_slices_are_put_together_in_the_order_of_the_images() -> None:
    request = queued(1, 2, 3)
    request.dequeued_at = request.enqueued_at + 0.5
    request.infer_s, request.batch_size = 0.25, 2
    request.add_scores(2, scores(3))
    assert not request.future.done()
    request.add_scores(0, scores(1, 2))
    result = await request.future
    assert result.scores.ravel().tolist() == [1, 2, 3]
    assert (result.queue_s, result.infer_s, result.batch_size) == (pytest.approx(0.5), 0.25, 2)
    assert request.deadline_timer is None


async def test_a_slice_has_its_images_of_the_request() -> None:
    request = queued(1, 2, 3)
    piece = BatchSlice(request, 1, 3)
    assert len(piece) == 2
    assert piece.pixels[:, 0, 0, 0].tolist() == [2, 3]
    request.dequeued = 1
    assert request.remaining == 2
    request.cancel()


async def test_it_fails_at_its_deadline() -> None:
    request = queued(1, timeout=0.02)
    with pytest.raises(DeadlineExceededError, match="20 ms"):
        await request.future
    request.add_scores(0, scores(1))  # Of a batch that was running; ignored.


async def test_the_first_outcome_counts() -> None:
    request = queued(1)
    request.fail(InferenceError("first"))
    request.fail(InferenceError("second"))
    request.cancel()
    with pytest.raises(InferenceError, match="first"):
        await request.future
    cancelled = queued(1)
    cancelled.cancel()
    cancelled.fail(InferenceError("late"))
    assert cancelled.future.cancelled()
