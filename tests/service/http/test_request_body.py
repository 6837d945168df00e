"""Bodies that come compressed, and the bounds that they are held to."""

from __future__ import annotations

import gzip
import zlib

import pytest
from starlette.requests import Request

from service.core.deadline import Deadline
from service.core.errors import BadRequestError, OverloadedError, PayloadTooLargeError, ServiceError
from service.edge.admission import Admission
from service.http.request_body import decompress

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
