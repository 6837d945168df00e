"""Requests that must be rejected, each with the expected status."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass

import orjson
from PIL import Image

from loadtest.load.images import SIZES, jpegs
from loadtest.load.requests import LoadRequest, Outcome

from .open_loop import BAD

MAX_REQUEST_MIB = 8
"""The limit of the service under test; more than a photograph of 12 megapixels needs."""

_TOO_MANY_PIXELS = (10_000, 10_000)


@dataclass(frozen=True, eq=False)
class InvalidRequest(LoadRequest):
    """A request whose good response is a rejection with one status."""

    status: int = 400

    def check(self, status: int, version: bytes | None, body: bytes) -> tuple[Outcome, str]:
        """Return whether it was rejected as expected."""
        if status == self.status and body.startswith(b'{"error":'):
            return "good", ""
        outcome, error = super().check(status, version, body)
        return ("failed", f"{self.name} was accepted") if outcome == "good" else (outcome, error)


def invalid_requests(model: str) -> list[InvalidRequest]:
    """Return one request of each kind."""
    jpeg = jpegs(SIZES[1])[0]
    bomb = io.BytesIO()
    Image.new("1", _TOO_MANY_PIXELS).save(bomb, "PNG")
    return [
        _predict(model, "wrong base64", b'{"instances":[{"b64":"@@@@"}]}'),
        _predict(model, "truncated JPEG", _instance(jpeg[: len(jpeg) // 2])),
        _predict(model, "too many pixels", _instance(bomb.getvalue())),
        _predict(model, "too large a body", bytes((MAX_REQUEST_MIB + 1) * 2**20), status=413),
    ]


def _predict(model: str, name: str, body: bytes, status: int = 400) -> InvalidRequest:
    path = f"/v1/models/{model}:predict"
    return InvalidRequest(BAD + name, path, "application/json", body, 0, b"[", 0, status=status)


def _instance(image: bytes) -> bytes:
    return orjson.dumps({"instances": [{"b64": b64encode(image).decode()}]})
