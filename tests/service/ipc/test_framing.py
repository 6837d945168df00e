"""Frames over a real socket, however its bytes are cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import numpy as np
import pytest
from numpy.typing import NDArray

from service.ipc.framing import FrameProtocol
from service.ipc.messages import HEAD_BYTES

from .backend import until


class Recorder(FrameProtocol):
    """Keeps what it receives; a head begins with the length of the body, and with 0xFF where it is none."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def begin(self, head: bytearray) -> int:
        if head[0] == 0xFF:
            raise ValueError("no head")
        return int.from_bytes(head[:4], "little")

    def complete(self, body: NDArray[np.uint8]) -> None:
        self.bodies.append(body.tobytes())


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little").ljust(HEAD_BYTES, b"\0") + body


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Recorder, asyncio.StreamWriter, asyncio.StreamReader]]:
    left, right = socket.socketpair()
    transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=left)
    reader, writer = await asyncio.open_connection(sock=right)
    yield protocol, writer, reader
    transport.abort()
    writer.close()


Pair = tuple[Recorder, asyncio.StreamWriter, asyncio.StreamReader]


async def test_frames_in_one_piece(pair: Pair) -> None:
    protocol, writer, _ = pair
    bodies = [b"", b"x", b"", bytes(2**22), b"end"]
    writer.write(b"".join(map(frame, bodies)))
    await until(lambda: len(protocol.bodies) == len(bodies))
    assert protocol.bodies == bodies


async def test_frames_byte_by_byte(pair: Pair) -> None:
    protocol, writer, _ = pair
    for byte in frame(b"ab") + frame(b"c"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
        await writer.drain()
    await until(lambda: len(protocol.bodies) == 2)
    assert protocol.bodies == [b"ab", b"c"]


async def test_no_head_ends_the_connection(pair: Pair) -> None:
    protocol, writer, reader = pair
    writer.write(frame(b"ab") + b"\xff" * HEAD_BYTES)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert protocol.bodies == [b"ab"]
    protocol.send(b"nobody reads this")


async def test_a_peer_that_does_not_read_pauses_writing(pair: Pair) -> None:
    protocol, _, reader = pair
    while not protocol.paused:
        protocol.send(bytes(2**20))
        await asyncio.sleep(0)
    reading = asyncio.create_task(reader.read())
    await until(lambda: not protocol.paused)
    protocol.close()
    assert len(await reading) >= 2**21
