"""The formats of frames, and what is not one of them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydantic import ValidationError

from service.core.deadline import Deadline, Priority
from service.core.errors import ModelNotFoundError, OverloadedError
from service.core.result import Result
from service.core.serving_state import BatchingState
from service.ipc import messages
from service.ipc.messages import HEAD_BYTES, FrameAddress, InferenceRequest, RequestHead, ResponseHead

from .backend import STATE, images

BATCHING = BatchingState(
    queue_images=1,
    queue_images_max=2,
    queue_bytes=3,
    queue_bytes_max=4,
    queue_seconds=0.5,
    running_batches=1,
    versions=(),
)


def body(frame: bytes | memoryview) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(frame, np.uint8)


def test_an_inference_request_keeps_its_pixels_version_and_priority() -> None:
    sent = InferenceRequest(7, 3, Deadline(2.0), Priority.BULK, images(2)[:, ::2])
    head = RequestHead.parse(sent.head())
    assert (head.kind, head.number, head.shape) == (messages.INFER, 7, (2, 4, 8, 3))
    received = head.with_pixels(body(sent.body()))
    assert (received.number, received.version, received.priority) == (7, 3, Priority.BULK)
    assert received.deadline.remaining_s() == pytest.approx(2.0, abs=0.5)
    assert np.array_equal(received.pixels, sent.pixels)


@pytest.mark.parametrize("kind", [messages.CANCEL, messages.RELOAD, messages.BATCHING])
def test_control_frames_have_no_body(kind: int) -> None:
    head = RequestHead.parse(messages.control_frame(kind, 9))
    assert (head.kind, head.number, np.prod(head.shape)) == (kind, 9, 0)


def test_scores_keep_their_order_and_times() -> None:
    result = Result(np.arange(6, dtype=np.float32).reshape(2, 3), 0.25, 0.5, 4)
    head, scores = messages.scores_frame(7, result)
    parsed = ResponseHead.parse(head)
    assert (parsed.number, parsed.body_bytes) == (7, 24)
    read = parsed.read(body(scores))
    assert np.array_equal(read.scores, result.scores)
    assert (read.queue_s, read.infer_s, read.batch_size) == (0.25, 0.5, 4)


def test_errors_keep_their_class_reason_and_retry_after() -> None:
    error = OverloadedError("full", retry_after_s=3, reason="queue_images")
    head, text = messages.error_frame(7, error)
    read = ResponseHead.parse(head).read(body(text))
    assert type(read) is OverloadedError
    assert (str(read), read.retry_after_s, read.reason) == ("full", 3, "queue_images")
    assert type(messages.read_error(messages.error_body(ModelNotFoundError("x")))) is ModelNotFoundError


def test_state_and_batching_come_back_whole() -> None:
    head, text = messages.state_frame(STATE)
    parsed = ResponseHead.parse(head)
    assert (parsed.kind, parsed.number, parsed.body_bytes) == (messages.STATE, 0, len(text))
    assert parsed.read(body(text)) == STATE
    head, text = messages.done_frame(7, BATCHING)
    assert BatchingState.model_validate_json(ResponseHead.parse(head).read(body(text))) == BATCHING
    assert messages.done_frame(7, None)[1] == b""


def test_a_state_of_another_protocol_is_refused_by_name() -> None:
    head = bytearray(messages.state_frame(STATE)[0])
    struct.pack_into("<I", head, 4, messages.PROTOCOL_VERSION + 1)
    with pytest.raises(ValueError, match=f"version {messages.PROTOCOL_VERSION + 1}"):
        ResponseHead.parse(head)


def test_a_state_with_a_field_more_is_read_and_with_one_less_is_not() -> None:
    head, text = messages.state_frame(STATE)
    parsed = ResponseHead.parse(head)
    assert parsed.read(body(text[:-1] + b',"new":1}')) == STATE
    with pytest.raises(ValidationError):
        parsed.read(body(b"{}"))


@pytest.mark.parametrize(
    "head", [bytes(HEAD_BYTES), b"\xff" * HEAD_BYTES, b"HTTP/1.1 400 Bad Request".ljust(HEAD_BYTES)]
)
@pytest.mark.parametrize("parse", [RequestHead.parse, ResponseHead.parse])
def test_other_bytes_are_no_head(parse: type[RequestHead], head: bytes) -> None:
    with pytest.raises(ValueError, match="a frame of kind"):
        parse(head)


@pytest.mark.parametrize(
    "frame",
    [
        messages.HEARTBEAT_FRAME,
        messages.GOAWAY_FRAME,
        messages.scores_frame(1, Result(np.zeros((1, 1), np.float32), 0, 0, 1))[0],
        messages.control_frame(messages.CANCEL, 1),
    ],
)
def test_every_head_has_the_same_length(frame: bytes) -> None:
    assert len(frame) == HEAD_BYTES


def test_the_address_is_beside_the_runners_own() -> None:
    assert FrameAddress.beside("file:///tmp/a%20b/runner.sock", 7) == FrameAddress("/tmp/a b/runner.sock.frames")
    assert FrameAddress.beside("http://runner:3000", 7) == FrameAddress(None, "runner", 7)
