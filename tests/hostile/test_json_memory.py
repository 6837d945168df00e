"""JSON that is small on its way and would be large in memory, to a service with the bounds that it comes with."""

from __future__ import annotations

import gzip

import pytest

from service.http.bounded_json import MAX_VALUES
from tests.server import Server

from .corpus.item import EXAMPLES, INDEX, INFER, JSON, PREDICT
from .sender import MemoryWatch

MIB = 2**20
REQUEST_MIB = 32
"""The default."""

SIZE = (REQUEST_MIB - 1) * MIB
ZIPPED = {**JSON, "Content-Encoding": "gzip"}

COPIES = 3
"""Of a body, while it is received and inflated: its pieces, and what they are put together to."""

WORST_FACTOR = 12
"""Bytes that the worst document within the bounds takes for each of the longest body's."""

SLACK_MIB = 64


@pytest.mark.parametrize("piece", [b"[[]],", b'{"":{}},', b"[],", b"0,"])
def test_what_would_unfold_is_refused_and_takes_no_more_than_its_bytes(default_server: Server, piece: bytes) -> None:
    body = b'{"inputs":[' + piece * (SIZE // len(piece)) + b"{}]}"
    small, client = gzip.compress(body, 1, mtime=0), default_server.client
    with MemoryWatch(edge=default_server.edge()) as memory:
        answers = [
            client.post(INFER, content=small, headers=ZIPPED),
            *(
                default_server.client.post(path, content=body, headers=JSON)
                for path in (PREDICT, EXAMPLES, INFER, INDEX)
            ),
        ]
    for answer in answers:
        assert answer.status_code == 413, answer.text
        assert f"the limit is {MAX_VALUES}" in answer.text
    assert memory.growth()["edge"] <= (COPIES * REQUEST_MIB + SLACK_MIB) * MIB


def test_the_worst_within_the_bounds(default_server: Server) -> None:
    """Lists in lists, as many as there may be, and a text of which one character makes all others four bytes."""
    lists = b'{"inputs":[' + b"[[]]," * (MAX_VALUES // 3 - 2)
    body = lists + b'"' + b"a" * (SIZE - len(lists)) + '\N{GRINNING FACE}"]}'.encode()
    with MemoryWatch(edge=default_server.edge()) as memory:
        answer = default_server.client.post(INFER, content=body, headers=JSON)
    assert answer.status_code == 400
    assert "inputs: has" in answer.text
    assert memory.growth()["edge"] <= ((COPIES + WORST_FACTOR) * REQUEST_MIB + SLACK_MIB) * MIB
