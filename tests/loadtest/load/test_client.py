from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from loadtest.load.client import Client, NoResponseError
from loadtest.load.requests import LoadRequest, Mix

from .slow_service import Impatient, Slow, in_gevent, slow_service


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with slow_service() as address:
        yield address


def request(how: str) -> LoadRequest:
    return Mix.of("single", how).requests[0]


def ask(url: str, how: str, times: int = 1) -> list[tuple[str, str]]:
    """Ask so often and return what each answer was, and what was wrong with it."""

    def run() -> list[tuple[str, str]]:
        client, asked, seen = Client(url, 1.0), request(how), []
        for _ in range(times):
            Impatient.closed.clear()
            reply = client.send(asked)
            if how == "leave":
                Impatient.closed.wait()
            seen.append(asked.check(reply.status, reply.version, reply.body))
        client.close()
        return seen

    return in_gevent(run)


@pytest.mark.parametrize(
    ("how", "outcome", "error"),
    [
        ("good", "good", ""),
        ("chunked", "good", ""),
        ("full", "refused", '429 {"predictions"'),
        ("away", "refused", '503 {"predictions"'),
        ("broken", "failed", '500 {"predictions"'),
        ("unnamed", "failed", "response without a model version"),
        ("empty", "failed", "0 predictions for 1 images"),
    ],
)
def test_answers_are_told_apart(url: str, how: str, outcome: str, error: str) -> None:
    [(seen, said)] = ask(url, how)
    assert seen == outcome
    assert said.startswith(error)


@pytest.mark.parametrize(
    ("how", "message"), [("cut", "closed before the response was complete"), ("hang", "no response within 1 s")]
)
def test_no_answer_is_an_error(url: str, how: str, message: str) -> None:
    with pytest.raises(NoResponseError, match=message):
        ask(url, how)


def test_nobody_there_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NoResponseError, match="refused"):
            ask(f"http://127.0.0.1:{taken.getsockname()[1]}", "good")


@pytest.mark.parametrize(("how", "connections"), [("good", 1), ("chunked", 1), ("once", 5), ("leave", 5)])
def test_a_connection_is_used_again_unless_the_service_closes_it(url: str, how: str, connections: int) -> None:
    before = len(Slow.connections)
    assert ask(url, how, times=5) == [("good", "")] * 5
    assert len(Slow.connections) - before == connections


@pytest.mark.parametrize(("key", "said"), [("", None), ("a key", "Bearer a key")])
def test_a_key_is_sent_where_there_is_one(url: str, key: str, said: str | None) -> None:
    before = len(Slow.keys)

    def run() -> int:
        client = Client(url, 5.0, key)
        statuses = [client.send(request("good")).status for _ in range(2)]
        client.close()
        return sum(statuses)

    assert in_gevent(run) == 400
    assert Slow.keys[before:] == [said, said]


def test_several_images_need_as_many_answers() -> None:
    several = Mix.of("instances", "xception").requests[0]
    rows = b",".join([b"[0.5,0.5]"] * several.images)
    assert several.check(200, b"1", b'{"predictions":[' + rows + b"]}") == ("good", "")
    assert several.check(200, b"1", b'{"predictions": [[0.5,0.5]]}') == ("failed", "1 predictions for 8 images")


def test_a_photograph_needs_a_best_class() -> None:
    photograph = Mix.of("photos", "xception").requests[0]
    assert photograph.check(200, b"1", b'{"version":1,"predictions":[{"name":"a"},{"name":"b"}]}') == ("good", "")
    assert photograph.check(200, b"1", b'{"version":1,"predictions":[]}')[0] == "failed"
