"""Bodies: what is read of them and within which limits, compressed ones, and forms."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import zlib
from collections.abc import Callable

import pytest
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.types import Message

from service.core.deadline import Deadline
from service.core.errors import (
    BadRequestError,
    ClientDisconnectedError,
    DeadlineExceededError,
    OverloadedError,
    PayloadTooLargeError,
    ServiceError,
    SlowRequestError,
    UnsupportedMediaTypeError,
)
from service.edge.admission import Admission
from service.http import request_body
from service.http.request_body import INVALID_BODY, decompress, extract_image, read_body, require_json

MIB = 2**20
PLAIN = bytes(range(256)) * 3 * 2**12  # 3 MiB: several pieces.
PACKED = gzip.compress(PLAIN, mtime=0)
"""The same bytes in every process: tests are named by them."""


def request(encoding: str) -> Request:
    return Request({"type": "http", "headers": [(b"content-encoding", encoding.encode())]})


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", PACKED),
        ("GZip ", PACKED),
        ("x-gzip", PACKED),
        ("deflate", zlib.compress(PLAIN)),
        ("gzip", gzip.compress(PLAIN, 0, mtime=0)),
    ],
)
async def test_what_comes_out_and_what_it_holds(encoding: str, body: bytes) -> None:
    admission = Admission(max_requests=1, max_bytes=8 * MIB)
    with admission.admit(Deadline(10)) as permit:
        permit.reserve(len(body))
        assert await decompress(request(encoding), body, permit, 3 * MIB) == PLAIN
        assert admission.bytes == len(body) + len(PLAIN)
    assert admission.bytes == 0


@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_plain_bodies_are_left_alone(encoding: str) -> None:
    admission = Admission(max_requests=1, max_bytes=0)
    with admission.admit(Deadline(10)) as permit:
        assert await decompress(request(encoding), b"plain", permit, 0) == b"plain"


@pytest.mark.parametrize(
    ("error", "max_body", "max_held"), [(PayloadTooLargeError, 2 * MIB, 8 * MIB), (OverloadedError, 8 * MIB, 2 * MIB)]
)
async def test_it_stops_at_the_bounds(error: type[ServiceError], max_body: int, max_held: int) -> None:
    admission = Admission(max_requests=1, max_bytes=max_held)
    with admission.admit(Deadline(10)) as permit:
        with pytest.raises(error):
            await decompress(request("gzip"), PACKED, permit, max_body)
        assert admission.bytes <= 2 * MIB
    assert admission.bytes == 0


@pytest.mark.parametrize("body", [b"", b"no gzip", PACKED[:-1], PACKED[:-9], gzip.compress(b"x", mtime=0) + b"y"])
async def test_broken_bodies(body: bytes) -> None:
    with pytest.raises(BadRequestError), Admission(1, 8 * MIB).admit(Deadline(10)) as permit:
        await decompress(request("gzip"), body, permit, 8 * MIB)


def streaming(*chunks: bytes, content_type: str = "", pause_s: float = 0.0, ends: bool = True) -> Request:
    """Return a request whose body arrives in chunks; without an end the client disconnects."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"})

    async def receive() -> Message:
        await asyncio.sleep(pause_s)
        return messages.pop(0)

    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request({"type": "http", "headers": headers}, receive)


class TestRead:
    async def test_chunks_are_joined_and_reserved(self) -> None:
        admission = Admission(1, 8)
        with admission.admit(Deadline(10)) as permit:
            assert await read_body(streaming(b"abc", b"defgh"), permit, 8, 1) == b"abcdefgh"
            assert admission.bytes == 8

    @pytest.mark.parametrize(
        ("request_", "max_bytes", "max_held", "error"),
        [
            (lambda: streaming(b"abc", b"def"), 5, 100, PayloadTooLargeError),
            (lambda: streaming(b"abc", b"def"), 100, 5, OverloadedError),
            (lambda: streaming(b"abc", pause_s=1), 100, 100, SlowRequestError),
            (lambda: streaming(b"abc", ends=False), 100, 100, ClientDisconnectedError),
        ],
    )
    async def test_limits(
        self, request_: Callable[[], Request], max_bytes: int, max_held: int, error: type[Exception]
    ) -> None:
        with pytest.raises(error), Admission(1, max_held).admit(Deadline(10)) as permit:
            await read_body(request_(), permit, max_bytes, 0.2)

    async def test_the_deadline_of_the_request_may_come_first(self) -> None:
        with pytest.raises(DeadlineExceededError, match="50 ms"), Admission(1, 9).admit(Deadline(0.05)) as permit:
            await read_body(streaming(b"abc", pause_s=1), permit, 9, 5)

    async def test_invalid_chunks_are_the_requests_fault(self) -> None:
        request = streaming(b"abc")
        request.scope[INVALID_BODY] = True
        with pytest.raises(BadRequestError, match="after its first 3 bytes"), Admission(1, 9).admit(Deadline(10)) as p:
            await read_body(request, p, 9, 1)

    async def test_a_slow_body_releases_its_slot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request_body, "_SLOT_HOLD_S", 0.05)
        admission = Admission(1, 100)
        with admission.admit(Deadline(10)) as permit:
            reading = asyncio.create_task(read_body(streaming(b"abc", pause_s=0.2), permit, 100, 5))
            await asyncio.sleep(0.1)
            with admission.admit(Deadline(10)):
                pass
            assert await reading == b"abc"


class TestForm:
    def test_what_is_used_of_starlette_is_there(self) -> None:
        """Without `spool_max_size` large parts would go through temporary files."""
        assert isinstance(MultiPartParser.spool_max_size, int)
        assert "max_size=self.spool_max_size" in inspect.getsource(MultiPartParser)
        assert {"max_files", "max_fields"} <= inspect.signature(MultiPartParser.__init__).parameters.keys()
        assert issubclass(request_body._InMemoryParser, MultiPartParser)

    @staticmethod
    def form(*parts: bytes) -> bytes:
        return b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--x--\r\n"

    async def test_the_image_of_a_form_stays_in_memory(self) -> None:
        image = bytes(range(256)) * 2**13
        body = self.form(b'name="image"; filename="a.png"\r\n\r\n' + image)
        for boundary in ("x", '"x"', "x; charset=utf-16"):
            request = streaming(content_type=f"multipart/form-data; boundary={boundary}")
            assert await extract_image(request, body) == image

    @pytest.mark.parametrize("kind", ["", "image/png", "image/anything", "application/octet-stream"])
    async def test_the_body_is_the_image(self, kind: str) -> None:
        assert await extract_image(streaming(content_type=kind), b"image") == b"image"

    @pytest.mark.parametrize(
        ("kind", "body", "error"),
        [
            ("image/png", b"", BadRequestError),
            ("text/html", b"image", UnsupportedMediaTypeError),
            ("multipart/form-data", b"image", BadRequestError),
            ("multipart/form-data; boundary=x", b"image", BadRequestError),
            ("multipart/form-data; boundary=x", form(b'name="image"\r\n\r\ntext'), BadRequestError),
            ("multipart/form-data; boundary=x", form(b'name="other"; filename="a"\r\n\r\nx'), BadRequestError),
            ("multipart/form-data; boundary=x", form(*[b'name="image"; filename="a"\r\n\r\nx'] * 2), BadRequestError),
        ],
    )
    async def test_everything_else_is_rejected(self, kind: str, body: bytes, error: type[ServiceError]) -> None:
        with pytest.raises(error):
            await extract_image(streaming(content_type=kind), body)


@pytest.mark.parametrize("kind", ["", "application/json", "application/json; charset=utf-8", "text/plain"])
def test_json_types(kind: str) -> None:
    require_json(streaming(content_type=kind))


@pytest.mark.parametrize("kind", ["image/png", "application/xml", "multipart/form-data; boundary=x"])
def test_other_types(kind: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        require_json(streaming(content_type=kind))
