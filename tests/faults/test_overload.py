"""More requests than the service can answer: what it refuses, why, and that nothing is lost."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from itertools import cycle, islice
from pathlib import Path

import httpx
import pytest

from tests.server import Demo, Server

from .faulty_service import is_eight, metric
from .table import RecordFault, Row
from .test_slow_clients import HEAD, connect, read_status
from .traffic import PREDICT, Tally

CLIENTS = 64
WORKERS, MAX_IN_FLIGHT = 2, 16
BULK = {"X-Request-Priority": "bulk"}

REASONS = {
    "requests": "requests are in flight, which is the limit",
    "body_bytes": "request bodies in flight hold",
    "queue_images": "the queue holds",
    "late": "a response takes about",
}
"""What refusals are counted as, and part of what their clients are told."""


@pytest.fixture(scope="module")
def server(demo: Demo, slow_store_url: str) -> Iterator[Server]:
    """A service of two edges with small limits, and a model that takes as long as Xception."""
    with demo(
        MODEL_STORE_URL=slow_store_url,
        EDGE_WORKERS=str(WORKERS),
        MAX_IN_FLIGHT=str(MAX_IN_FLIGHT),
        MAX_REQUEST_MIB="1",
        MAX_IN_FLIGHT_MIB=str(WORKERS),
        MAX_INSTANCES="64",
        QUEUE_MAX_IMAGES="64",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def eights(golden: list[Path]) -> Callable[[int], bytes]:
    """Make requests of so many images of an eight."""
    image = {"b64": b64encode(golden[8].read_bytes()).decode()}
    return lambda images: json.dumps({"instances": [image] * images}).encode()


def storm(server: Server, body: bytes, requests: int, *headers: dict[str, str]) -> list[httpx.Response]:
    """Send from many clients at once, with each of the headers in turn; a rejected client sends on without a pause."""
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    with (
        httpx.Client(base_url=server.url, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        asked = islice(cycle(headers or ({},)), requests)
        return list(clients.map(lambda more: client.post(PREDICT, content=body, headers=more), asked))


def tally(answers: list[httpx.Response]) -> Tally:
    counted = Tally(sent=len(answers))
    for answer in answers:
        counted.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            right = all(max(range(10), key=row.__getitem__) == 8 for row in answer.json()["predictions"])
            counted.answered += right
            counted.wrong += not right
        elif answer.status_code in (429, 504):
            counted.refused += 1
        else:
            counted.failed += 1
            counted.problems.append(answer.text[:200])
    return counted


def reason(answer: httpx.Response) -> str:
    """Return why a request was refused, by what its client was told."""
    said = answer.json()["error"]
    found = [name for name, text in REASONS.items() if text in said]
    assert len(found) == 1, said
    assert int(answer.headers["retry-after"]) >= 1
    return found[0]


def refused(server: Server) -> Counter[str]:
    """Return how many requests have been refused for each reason, as the service counts them."""
    return Counter(
        {name: int(metric(server, f'xception_failed_requests_total{{reason="{name}"}}')) for name in REASONS}
    )


def dropped(server: Server) -> float:
    return metric(server, 'xception_dropped_images_total{reason="cancelled"}')


def read_answer(connection: socket.socket) -> tuple[int, str]:
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read().decode()


def image_s(server: Server) -> float:
    """Return what an image costs in a batch, as the service has learned."""
    return metric(server, "xception_batch_cost_image_seconds")


@pytest.mark.parametrize(
    ("images", "padding", "expected"),
    [(1, 0, "requests"), (8, 0, "queue_images"), (1, 400_000, "body_bytes")],
    ids=["requests", "images", "bytes"],
)
def test_a_storm_is_answered_or_refused_with_the_reason(
    server: Server, eights: Callable[[int], bytes], record_fault: RecordFault, images: int, padding: int, expected: str
) -> None:
    before = refused(server)
    answers = storm(server, eights(images) + b" " * padding, 400, {}, {}, BULK)
    counted = tally(answers)
    assert (counted.failed, counted.wrong, counted.statuses[504]) == (0, 0, 0), counted
    assert counted.answered > 0
    reasons = Counter(reason(answer) for answer in answers if answer.status_code == 429)
    assert reasons[expected] > 0
    assert reasons == refused(server) - before
    after = server.client.post(PREDICT, content=eights(1))
    assert after.status_code == 200
    assert is_eight(after)
    record_fault(Row(f"overload: {expected}", f"{CLIENTS} clients, {images} images each", counted, None))


def test_a_storm_with_short_deadlines_is_rejected_before_they_pass(
    server: Server, eights: Callable[[int], bytes], record_fault: RecordFault
) -> None:
    """Its deadline is enough for a few requests of eight images, and for no more."""
    before = refused(server)
    deadline = {"X-Request-Timeout-Ms": str(max(50, round(1000 * 24 * image_s(server))))}
    answers = storm(server, eights(8), 400, deadline)
    counted = tally(answers)
    assert (counted.failed, counted.wrong) == (0, 0), counted
    reasons = Counter(reason(answer) for answer in answers if answer.status_code == 429)
    assert reasons["late"] > 0
    assert reasons == refused(server) - before
    assert is_eight(server.client.post(PREDICT, content=eights(1)))
    record_fault(Row("overload: deadlines", f"{CLIENTS} clients, 8 images each", counted, None))


def test_what_cannot_be_done_in_time_is_not_begun(server: Server, eights: Callable[[int], bytes]) -> None:
    name = 'xception_failed_requests_total{reason="deadline"}'
    deadline = {"X-Request-Timeout-Ms": str(max(10, round(1000 * 16 * image_s(server))))}
    assert is_eight(server.client.post(PREDICT, content=eights(1)))
    before, batches = metric(server, name), metric(server, "xception_batch_size_count")
    answer = server.client.post(PREDICT, content=eights(64), headers=deadline)
    assert answer.status_code == 504
    assert metric(server, name) == before + 1
    assert metric(server, "xception_batch_size_count") == batches


def test_bulk_is_answered_while_interactive_clients_go_on(
    server: Server, eights: Callable[[int], bytes], record_fault: RecordFault
) -> None:
    over = threading.Event()
    answers: list[httpx.Response] = []

    def ask_on() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not over.is_set():
                answers.append(client.post(PREDICT, content=eights(4)))

    threads = [threading.Thread(target=ask_on) for _ in range(5)]  # All on one edge they leave room for bulk.
    try:
        for thread in threads:
            thread.start()
        while len(answers) < 20:
            time.sleep(0.02)
        at = len(answers)
        bulk = [server.client.post(PREDICT, content=eights(4), headers=BULK) for _ in range(8)]
        meanwhile = len(answers) - at
    finally:
        over.set()
        for thread in threads:
            thread.join()
    counted = tally([*answers, *bulk])
    assert counted.answered == counted.sent, counted
    assert meanwhile > len(bulk)
    record_fault(Row(f"overload: {len(bulk)} bulk requests beside others", f"{len(threads)} clients", counted, None))


def test_images_that_nobody_waits_for_are_dropped(server: Server, eights: Callable[[int], bytes]) -> None:
    before, until = dropped(server), time.monotonic() + 30
    request = HEAD.format(len(eights(8))).encode() + eights(8)
    while dropped(server) == before:  # A client that disconnects before its images wait, or after, leaves none behind.
        assert time.monotonic() < until
        with ExitStack() as clients:
            for _ in range(MAX_IN_FLIGHT // WORKERS):
                clients.enter_context(connect(server)).sendall(request)
            time.sleep(0.05)
    assert is_eight(server.client.post(PREDICT, content=eights(1)))


def test_the_bound_of_requests_holds_for_all_edges_together(
    server: Server, eights: Callable[[int], bytes], record_fault: RecordFault
) -> None:
    """Callers that have sent half of their bodies hold a place each; there are places for so many, and no more."""
    body, clients = eights(1), 3 * MAX_IN_FLIGHT
    half = len(body) // 2
    answers: dict[socket.socket, int] = {}
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(clients)]
        for connection in connections:
            connection.sendall(HEAD.format(len(body)).encode() + body[:half])
        until = time.monotonic() + 20
        while len(answers) < clients - MAX_IN_FLIGHT:
            assert time.monotonic() < until, len(answers)
            waiting = [connection for connection in connections if connection not in answers]
            for connection in select.select(waiting, [], [], 1)[0]:
                answers[connection], said = read_answer(connection)
                assert f"{MAX_IN_FLIGHT // WORKERS} requests are in flight" in said
        for connection in connections:
            if connection not in answers:
                connection.sendall(body[half:])
                answers[connection], _ = read_answer(connection)
    statuses = Counter(answers.values())
    assert set(statuses) == {200, 429}
    assert MAX_IN_FLIGHT // WORKERS <= statuses[200] <= MAX_IN_FLIGHT
    counted = Tally(clients, statuses[200], statuses[429], statuses=statuses)
    record_fault(Row(f"overload: a bound for {WORKERS} edges", f"{clients} clients at once", counted, None))


def test_requests_without_a_body_do_not_hold_their_places(server: Server, eights: Callable[[int], bytes]) -> None:
    """Also long before their bodies are due, which is after 10 s."""
    eight = eights(1)
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(3 * MAX_IN_FLIGHT)]
        for connection in silent:
            connection.sendall(HEAD.format(len(eight)).encode())
        until = time.monotonic() + 9
        while ready := select.select(silent, [], [], 0.5)[0]:  # Those for which their edge has no place are rejected.
            for connection in ready:
                assert read_status(connection) == 429
                silent.remove(connection)
        assert 0 < len(silent) < 3 * MAX_IN_FLIGHT
        while (answer := server.client.post(PREDICT, content=eight)).status_code != 200:
            assert time.monotonic() < until, answer.text
            time.sleep(0.1)
        assert select.select(silent, [], [], 0)[0] == []  # None of them is rejected for it,
        silent[0].sendall(eight)
        assert read_status(silent[0]) == 200  # and one whose body comes in the end gets a response.
