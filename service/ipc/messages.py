"""The hop between edge and runner: frames over a socket that stays open, and a few HTTP routes beside it.

A question carries pixels, `uint8 [n, height, width, 3]`, as they lie in memory, and its answer scores, `float32
[n, classes]`; each behind a head of 48 bytes that says what follows. Questions have numbers, and answers come in any
order. A question can be given up. An error is JSON: kind, message, reason, and after how many seconds trying again
makes sense.

Over HTTP, where BentoML lets the runner listen, `GET /models` describes what is served, and with `?after=` only once
that has changed; `POST /reload` looks at the labels now; `GET /batching` tells what the batcher does.

An HTTP request for each question, with BentoML's middlewares on either side, cost more than a small model's inference;
typed calls between BentoML's services would pickle all of it, too, and lose the class and the text of errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, ClassVar, Self
from urllib.parse import unquote, urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

from service.core.deadline import Deadline, Priority
from service.core.errors import ServiceError
from service.core.result import Result

MODELS_PATH = "/models"
RELOAD_PATH = "/reload"
BATCHING_PATH = "/batching"

AFTER = "after"
"""The query parameter of `/models` with the revision that an edge knows; the answer waits for another one."""

WATCH_S = 2.0
"""How long that answer waits at most; a runner that shuts down waits for it, too."""

HEAD_BYTES = 48
"""Length of the head of a frame, in both directions."""

_REQUEST, _CANCEL, _SCORES, _ERROR = 1, 2, 3, 4
"""Kinds of frames."""


@dataclass(frozen=True)
class FrameAddress:
    """Where a runner takes frames: at a Unix socket beside BentoML's own, or at a port beside its own."""

    path: str | None
    host: str = ""
    port: int = 0

    @classmethod
    def beside(cls, url: str, port: int) -> Self:
        """Return the address of the runner at `url`.

        Args:
            url: `file:///path/of/a.sock` for a Unix socket, as BentoML names it, or `http://host:port`.
            port: Where it takes frames in the second case.
        """
        parts = urlsplit(url)
        if parts.scheme in ("file", "unix"):
            return cls(f"{unquote(parts.path)}.frames")
        return cls(None, parts.hostname or "", port)


@dataclass(frozen=True)
class InferenceRequest:
    """The images of one request, and what is to be done with them."""

    number: int
    """Its number on this connection."""
    version: int
    deadline: Deadline
    priority: Priority
    pixels: NDArray[np.uint8]
    """`uint8 [n, height, width, 3]`."""

    _HEAD: ClassVar[Struct] = Struct("<BB2xIIIQQd8x")

    def head(self) -> bytes:
        """Return what stands before the pixels."""
        n, height, width, _ = self.pixels.shape
        remaining_s = self.deadline.remaining_s()
        return self._HEAD.pack(_REQUEST, self.priority, n, height, width, self.number, self.version, remaining_s)

    def body(self) -> memoryview:
        """Return the pixels as they lie in memory."""
        return np.ascontiguousarray(self.pixels).data.cast("B")

    @classmethod
    def cancel(cls, number: int) -> bytes:
        """Return the frame that says that nobody waits for the answer any more."""
        return cls._HEAD.pack(_CANCEL, 0, 0, 0, 0, number, 0, 0.0)


@dataclass(frozen=True)
class RequestHead:
    """The head of a question, read at the runner."""

    cancelled: bool
    number: int
    shape: tuple[int, int, int, int]
    version: int
    remaining_s: float
    priority: Priority

    @classmethod
    def parse(cls, head: bytes | bytearray) -> Self:
        """Read a head.

        Raises:
            ValueError: It is not one.
        """
        kind, priority, n, height, width, number, version, remaining_s = InferenceRequest._HEAD.unpack(head)
        if kind not in (_REQUEST, _CANCEL):
            raise ValueError(f"a frame of kind {kind}")
        return cls(kind == _CANCEL, number, (n, height, width, 3), version, remaining_s, Priority(priority))

    def with_pixels(self, pixels: NDArray[np.uint8]) -> InferenceRequest:
        """Return the question, its deadline counted from now."""
        return InferenceRequest(
            self.number, self.version, Deadline(self.remaining_s), self.priority, pixels.reshape(self.shape)
        )


_ANSWER = Struct("<B3xIIIQdd8x")


def scores_frame(number: int, result: Result) -> tuple[bytes, memoryview]:
    """Return the head and the body of an answer."""
    n, classes = result.scores.shape
    head = _ANSWER.pack(_SCORES, n, classes, result.batch_size, number, result.queue_s, result.infer_s)
    return head, np.ascontiguousarray(result.scores).data.cast("B")


def error_frame(number: int, error: ServiceError) -> tuple[bytes, bytes]:
    """Return the head and the body of an error."""
    body = error_body(error)
    return _ANSWER.pack(_ERROR, 1, len(body), 0, number, 0.0, 0.0), body


@dataclass(frozen=True)
class ResponseHead:
    """The head of an answer, read at the edge."""

    number: int
    body_bytes: int
    read: Callable[[NDArray[np.uint8]], Result | ServiceError]
    """Turns the body, `uint8 [body_bytes]`, into the answer."""

    @classmethod
    def parse(cls, head: bytes | bytearray) -> Self:
        """Read a head.

        Raises:
            ValueError: It is not one.
        """
        kind, n, width, batch_size, number, queue_s, infer_s = _ANSWER.unpack(head)
        if kind == _ERROR:
            return cls(number, width, lambda body: read_error(body.tobytes()))
        if kind != _SCORES:
            raise ValueError(f"a frame of kind {kind}")
        return cls(
            number,
            4 * n * width,
            lambda body: Result(body.view(np.float32).reshape(n, width), queue_s, infer_s, batch_size),
        )


def error_body(error: ServiceError) -> bytes:
    """Return the runner's error."""
    return orjson.dumps(
        {"kind": error.kind, "error": str(error), "retry_after_s": error.retry_after_s, "reason": error.reason}
    )


def read_error(body: bytes) -> ServiceError:
    """Read the runner's error at the edge, as the class that it was there."""
    document: dict[str, Any] = orjson.loads(body)
    return ServiceError.from_wire(document["kind"], document["error"], document["retry_after_s"], document["reason"])
