"""Large pictures that cannot be decoded, one after the other: what was sent is let go with the answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server import Demo, Server

from .sender import MemoryWatch

MIB = 2**20

PICTURE_MIB = 15
"""Just below the limit of a service that is told nothing."""

TIMES = 60

COPIES = 4
"""Of a picture, while it is received and looked at."""

SLACK_MIB = 32


@pytest.fixture(scope="module")
def server(demo: Demo) -> Iterator[Server]:
    with demo() as server:
        yield server


@pytest.mark.parametrize("path", ["/classify", "/v2/models/xception/infer"])
def test_they_do_not_add_up(server: Server, path: str) -> None:
    picture = b"\xff\xd8\xff\xe0" + bytes(PICTURE_MIB * MIB)
    headers = {"Inference-Header-Content-Length": "0"}
    with MemoryWatch(edge=server.edge()) as memory:
        for _ in range(TIMES):
            answer = server.client.post(path, content=picture, headers=headers)
            assert answer.status_code == 400, answer.text
            assert "image" in answer.text
    assert memory.growth()["edge"] <= (COPIES * PICTURE_MIB + SLACK_MIB) * MIB
