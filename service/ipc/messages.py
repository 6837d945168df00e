"""The protocol between edge and runner: frames over one socket that stays open.

Every frame begins with a head of 48 bytes, which says what the frame is and how many bytes of body follow.

| from   | frame     | body                                           | response        |
|--------|-----------|------------------------------------------------|-----------------|
| edge   | INFER     | pixels, `uint8 [n, height, width, 3]`          | SCORES or ERROR |
| edge   | CANCEL    |                                                | none            |
| edge   | RELOAD    |                                                | DONE or ERROR   |
| edge   | BATCHING  |                                                | DONE or ERROR   |
| runner | SCORES    | `float32 [n, classes]`                         |                 |
| runner | ERROR     | JSON: kind, message, retry_after_s, reason     |                 |
| runner | DONE      | JSON: `BatchingState`, or nothing              |                 |
| runner | STATE     | JSON: `RunnerState`                            |                 |
| runner | HEARTBEAT |                                                |                 |
| runner | GOAWAY    |                                                |                 |

Requests have numbers; responses come in any order. The runner sends STATE when an edge connects and on every change,
before the responses that follow from the change, and HEARTBEAT every `HEARTBEAT_S` seconds. After GOAWAY it completes
the requests in progress, and rejects new ones.

STATE carries `PROTOCOL_VERSION`. An edge sends no request before it has read STATE, and none to a runner with another
version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

from service.core.deadline import Deadline, Priority
from service.core.errors import ServiceError
from service.core.result import Result
from service.core.serving_state import BatchingState, RunnerState

PROTOCOL_VERSION = 2
"""Increase it with every change that the release before would misread. It ignores new fields of a JSON body."""

HEARTBEAT_S = 2.0

HEAD_BYTES = 48
"""Length of the head of a frame, in both directions."""

INFER, CANCEL, SCORES, ERROR, RELOAD, BATCHING, DONE, STATE, HEARTBEAT, GOAWAY = range(1, 11)
"""Kinds of frames."""

_REQUEST = Struct("<BB2xIIIQQd8x")
_RESPONSE = Struct("<B3xIIIQdd8x")

HEARTBEAT_FRAME = _RESPONSE.pack(HEARTBEAT, 0, 0, 0, 0, 0.0, 0.0)
GOAWAY_FRAME = _RESPONSE.pack(GOAWAY, 0, 0, 0, 0, 0.0, 0.0)


@dataclass(frozen=True)
class FrameAddress:
    """Where a runner listens for frames: at a Unix socket beside BentoML's own, or at a port beside BentoML's own."""

    path: str | None
    host: str = ""
    port: int = 0

    @classmethod
    def beside(cls, url: str, port: int) -> Self:
        """Return the address of the runner at `url`.

        Args:
            url: `file:///path/of/a.sock` for a Unix socket, as BentoML names it, or `http://host:port`.
            port: The port for frames in the second case.
        """
        parts = urlsplit(url)
        if parts.scheme in ("file", "unix"):
            return cls(f"{unquote(parts.path)}.frames")
        return cls(None, parts.hostname or "", port)


@dataclass(frozen=True)
class InferenceRequest:
    """The images of one request, their version, deadline and priority."""

    number: int
    """Its number on this connection."""
    version: int
    deadline: Deadline
    priority: Priority
    pixels: NDArray[np.uint8]
    """`uint8 [n, height, width, 3]`."""

    def head(self) -> bytes:
        """Return the head of the frame."""
        n, height, width, _ = self.pixels.shape
        remaining_s = self.deadline.remaining_s()
        return _REQUEST.pack(INFER, self.priority, n, height, width, self.number, self.version, remaining_s)

    def body(self) -> memoryview:
        """Return the pixels, without a copy where they are contiguous."""
        return np.ascontiguousarray(self.pixels).data.cast("B")


def control_frame(kind: int, number: int) -> bytes:
    """Return a frame without a body: CANCEL of request `number`, or RELOAD or BATCHING as request `number`."""
    return _REQUEST.pack(kind, 0, 0, 0, 0, number, 0, 0.0)


@dataclass(frozen=True)
class RequestHead:
    """The head of a frame from an edge."""

    kind: int
    number: int
    shape: tuple[int, int, int, int]
    version: int
    remaining_s: float
    priority: Priority

    @classmethod
    def parse(cls, head: bytes | bytearray) -> Self:
        """Parse a head.

        Raises:
            ValueError: It is not one.
        """
        kind, priority, n, height, width, number, version, remaining_s = _REQUEST.unpack(head)
        if kind not in (INFER, CANCEL, RELOAD, BATCHING):
            raise ValueError(f"a frame of kind {kind}")
        return cls(kind, number, (n, height, width, 3), version, remaining_s, Priority(priority))

    def with_pixels(self, pixels: NDArray[np.uint8]) -> InferenceRequest:
        """Return the request, its deadline counted from now."""
        return InferenceRequest(
            self.number, self.version, Deadline(self.remaining_s), self.priority, pixels.reshape(self.shape)
        )


def scores_frame(number: int, result: Result) -> tuple[bytes, memoryview]:
    """Return head and body of the response to an inference request."""
    n, classes = result.scores.shape
    head = _RESPONSE.pack(SCORES, n, classes, result.batch_size, number, result.queue_s, result.infer_s)
    return head, np.ascontiguousarray(result.scores).data.cast("B")


def error_frame(number: int, error: ServiceError) -> tuple[bytes, bytes]:
    """Return head and body of the response to a request that failed."""
    return _json_frame(ERROR, 0, number, error_body(error))


def done_frame(number: int, state: BatchingState | None) -> tuple[bytes, bytes]:
    """Return head and body of the response to RELOAD (`state` is None) or BATCHING."""
    return _json_frame(DONE, 0, number, state.model_dump_json().encode() if state else b"")


def state_frame(state: RunnerState) -> tuple[bytes, bytes]:
    """Return head and body of STATE."""
    return _json_frame(STATE, PROTOCOL_VERSION, 0, state.model_dump_json().encode())


def _json_frame(kind: int, version: int, number: int, body: bytes) -> tuple[bytes, bytes]:
    return _RESPONSE.pack(kind, version, len(body), 0, number, 0.0, 0.0), body


@dataclass(frozen=True)
class ResponseHead:
    """The head of a frame from the runner."""

    kind: int
    number: int
    """The request that it responds to; 0 where it responds to none."""
    body_bytes: int
    read: Callable[[NDArray[np.uint8]], Any]
    """Turns the body, `uint8 [body_bytes]`, into a `Result`, `ServiceError`, `RunnerState`, or the body's bytes."""

    @classmethod
    def parse(cls, head: bytes | bytearray) -> Self:
        """Parse a head.

        Raises:
            ValueError: It is not one, or the runner speaks another version of the protocol.
        """
        kind, n, width, batch_size, number, queue_s, infer_s = _RESPONSE.unpack(head)
        if kind == SCORES:
            return cls(
                kind,
                number,
                4 * n * width,
                lambda body: Result(body.view(np.float32).reshape(n, width), queue_s, infer_s, batch_size),
            )
        if kind == STATE:
            if n != PROTOCOL_VERSION:
                raise ValueError(f"its protocol has version {n}, this one {PROTOCOL_VERSION}")
            return cls(kind, number, width, lambda body: RunnerState.model_validate_json(body.tobytes()))
        if kind == ERROR:
            return cls(kind, number, width, lambda body: read_error(body.tobytes()))
        if kind not in (DONE, HEARTBEAT, GOAWAY):
            raise ValueError(f"a frame of kind {kind}")
        return cls(kind, number, width, lambda body: body.tobytes())


def error_body(error: ServiceError) -> bytes:
    """Return an error as JSON."""
    return orjson.dumps(
        {"kind": error.kind, "error": str(error), "retry_after_s": error.retry_after_s, "reason": error.reason}
    )


def read_error(body: bytes) -> ServiceError:
    """Return an error of the runner as the class that it had there."""
    document: dict[str, Any] = orjson.loads(body)
    return ServiceError.from_wire(document["kind"], document["error"], document["retry_after_s"], document["reason"])
