"""Large images that cannot be decoded, one after the other: what was sent is let go with the answer."""

from __future__ import annotations

import pytest

from tests.server import Server

from .sender import MemoryWatch

MIB = 2**20

IMAGE_MIB = 15
"""Just below the limit of a service that is told nothing."""

TIMES = 60

COPIES = 4
"""Of a image, while it is received and looked at."""

SLACK_MIB = 32


@pytest.mark.parametrize("path", ["/classify", "/v2/models/xception/infer"])
def test_they_do_not_add_up(default_server: Server, path: str) -> None:
    image = b"\xff\xd8\xff\xe0" + bytes(IMAGE_MIB * MIB)
    headers = {"Inference-Header-Content-Length": "0"}
    with MemoryWatch(edge=default_server.edge()) as memory:
        for _ in range(TIMES):
            answer = default_server.client.post(path, content=image, headers=headers)
            assert answer.status_code == 400, answer.text
            assert "image" in answer.text
    assert memory.growth()["edge"] <= (COPIES * IMAGE_MIB + SLACK_MIB) * MIB
