"""The hop between edge and runner: raw pixels one way, raw scores the other, over HTTP.

`POST /infer` carries `uint8 [n, height, width, 3]` as they lie in memory; its headers name the shape, the
version that they were decoded for, how long the caller still waits, and its priority. The answer carries
`float32 [n, classes]`. `GET /models` describes what is served, and with `?after=` only once that has changed;
`POST /reload` looks at the labels now. An error is JSON: kind, message, seconds after which trying again makes sense.
BentoML's typed calls between services would pickle all of it, and lose the class and the text of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from .admission import Deadline, Priority
from .entry import Result
from .errors import BadRequestError, ServiceError

INFER_PATH = "/infer"
MODELS_PATH = "/models"
RELOAD_PATH = "/reload"

AFTER = "after"
"""The query parameter of `/models` with the revision that an edge knows; the answer waits for another one."""

WATCH_S = 5.0
"""How long that answer waits at most; a runner that shuts down waits for it, too."""

_SHAPE = "x-shape"
_VERSION = "x-model-version"
_TIMEOUT = "x-timeout-ms"
_PRIORITY = "x-priority"
_QUEUE = "x-queue-ms"
_INFER = "x-infer-ms"
_BATCH = "x-batch-size"


@dataclass(frozen=True)
class InferRequest:
    """One request to the runner."""

    pixels: NDArray[np.uint8]
    """`uint8 [n, height, width, 3]`."""
    version: int
    deadline: Deadline
    priority: Priority

    def headers(self) -> dict[str, str]:
        """Return what stands before the pixels."""
        return {
            "content-type": "application/octet-stream",
            _SHAPE: ",".join(map(str, self.pixels.shape)),
            _VERSION: str(self.version),
            _TIMEOUT: f"{self.deadline.remaining_s() * 1000:.3f}",
            _PRIORITY: str(int(self.priority)),
        }

    @classmethod
    async def read(cls, request: Request) -> InferRequest:
        """Read a request at the runner.

        Raises:
            BadRequestError: Headers and body do not fit together.
        """
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
        try:
            shape = tuple(int(part) for part in request.headers[_SHAPE].split(","))
            pixels = np.frombuffer(body, np.uint8).reshape(shape)
            return cls(
                pixels,
                int(request.headers[_VERSION]),
                Deadline(float(request.headers[_TIMEOUT]) / 1000),
                Priority(int(request.headers[_PRIORITY])),
            )
        except (KeyError, ValueError) as error:
            raise BadRequestError(f"not a request of an edge: {error}") from error


def result_response(result: Result) -> Response:
    """Return the runner's answer."""
    headers = {
        _SHAPE: ",".join(map(str, result.scores.shape)),
        _QUEUE: f"{result.queue_s * 1000:.3f}",
        _INFER: f"{result.infer_s * 1000:.3f}",
        _BATCH: str(result.batch_size),
    }
    return Response(result.scores.tobytes(), headers=headers, media_type="application/octet-stream")


def read_result(headers: Mapping[str, str], body: bytes) -> Result:
    """Read the runner's answer at the edge."""
    shape = tuple(int(part) for part in headers[_SHAPE].split(","))
    scores = np.frombuffer(body, np.float32).reshape(shape)
    return Result(scores, float(headers[_QUEUE]) / 1000, float(headers[_INFER]) / 1000, int(headers[_BATCH]))


def error_response(error: ServiceError) -> Response:
    """Return the runner's error."""
    body = orjson.dumps({"kind": error.kind, "error": str(error), "retry_after_s": error.retry_after_s})
    return Response(body, status_code=error.status, media_type="application/json")


def read_error(body: bytes) -> ServiceError:
    """Read the runner's error at the edge, as the class that it was there."""
    document: dict[str, Any] = orjson.loads(body)
    return ServiceError.from_wire(document["kind"], document["error"], document["retry_after_s"])
