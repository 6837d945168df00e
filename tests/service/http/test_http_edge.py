"""The steps that all HTTP protocols share: admission by headers, the body, and a client that disconnects."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.core.deadline import Priority
from service.core.errors import BadRequestError, PayloadTooLargeError
from service.edge.data_plane import DataPlane
from service.http.disconnect import disconnected
from service.http.http_edge import HttpEdge
from service.settings import Settings


@pytest.fixture
def edge() -> HttpEdge:
    return HttpEdge(DataPlane(Settings(max_request_mib=1, max_in_flight_mib=2)))


def request(*messages: Message, **headers: str) -> Request:
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw}, receive)


async def test_admission_goes_by_the_headers(edge: HttpEdge) -> None:
    body: Message = {"type": "http.request", "body": b"abc"}
    sent = request(body, x_request_priority="bulk", x_request_timeout_ms="500", content_length="3")
    with edge.admit(sent) as permit:
        assert permit.priority is Priority.BULK
        assert permit.deadline.remaining_s() <= 0.5
        assert await edge.read_body(sent, permit) == b"abc"
        assert edge.plane.admission.bytes == 3
    assert edge.plane.admission.bytes == 0


async def test_headers_are_refused_before_the_body_is_read(edge: HttpEdge) -> None:
    with pytest.raises(PayloadTooLargeError):
        edge.admit(request(content_length=str(2**20 + 1)))
    with pytest.raises(BadRequestError):
        edge.admit(request(x_request_priority="now"))


async def test_a_disconnect_is_noticed_once_the_body_is_read() -> None:
    gone = disconnected(request({"type": "http.request", "body": b""}, {"type": "http.disconnect"}))
    await asyncio.wait_for(gone(), 1)
