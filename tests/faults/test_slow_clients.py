"""Clients that are slow, stop halfway, disconnect or stay idle, beside clients that send requests as usual."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psutil
import pytest

from tests.server import Server

from .faulty_service import FaultyService, is_eight
from .table import RecordFault, Row
from .traffic import PREDICT, Traffic

HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {{}}\r\n\r\n"


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def read_status(connection: socket.socket) -> int:
    answer = connection.recv(4096)
    return int(answer.split()[1]) if answer else 0


def byte_by_byte(server: Server, body: bytes) -> int:
    with connect(server) as connection:
        connection.sendall(HEAD.format(len(body)).encode())
        for byte in body:
            connection.sendall(bytes([byte]))
            connection.settimeout(1)
            with suppress(TimeoutError):
                return read_status(connection)
        return 0


def head_only(server: Server, body: bytes) -> int:
    """Announce as much as a request may have, and send nothing."""
    with connect(server) as connection:
        connection.sendall(HEAD.format(32 * 2**20).encode())
        return read_status(connection)


def half_a_body(server: Server, body: bytes) -> int:
    with connect(server) as connection:
        connection.sendall(HEAD.format(len(body)).encode() + body[: len(body) // 2])
        return read_status(connection)


def gone_at_once(server: Server, body: bytes) -> int:
    with connect(server) as connection:
        connection.sendall(HEAD.format(len(body)).encode() + body)
    return 0


def gone_halfway(server: Server, body: bytes) -> int:
    with connect(server) as connection:
        connection.sendall(HEAD.format(len(body)).encode() + body[: len(body) // 2])
    return 0


@pytest.mark.parametrize(
    ("client", "status"),
    [(byte_by_byte, 408), (half_a_body, 408), (head_only, 408), (gone_at_once, 0), (gone_halfway, 0)],
)
def test_bad_clients_do_not_disturb_the_others(
    faulty: FaultyService,
    eight: bytes,
    record_fault: RecordFault,
    client: Callable[[Server, bytes], int],
    status: int,
) -> None:
    server = faulty.server
    seen: list[int] = []

    def misbehave() -> None:
        seen.append(client(server, eight))

    threads = [threading.Thread(target=misbehave) for _ in range(50)]
    with Traffic(server.url, eight, is_eight, clients=4) as traffic:
        traffic.wait_for_answers(20)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        traffic.wait_for_answers(20)
    assert seen == [status] * 50
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row(f"clients: 50 {client.__name__.replace('_', ' ')}", "4 clients", traffic.tally, None))


def test_two_thousand_idle_connections(faulty: FaultyService, eight: bytes, record_fault: RecordFault) -> None:
    server = faulty.server
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = psutil.Process().num_fds() + 3000  # Other tests may have left files open in this process.
    if hard < enough:
        pytest.skip(f"this system lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    edge = server.edge()
    try:
        with ExitStack() as idle, Traffic(server.url, eight, is_eight, clients=4) as traffic:
            before = edge.num_fds()
            for _ in range(2000):
                idle.enter_context(connect(server))
            until = time.monotonic() + 20
            while edge.num_fds() < before + 1900:
                assert time.monotonic() < until
                time.sleep(0.1)
            traffic.wait_for_answers(50)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    until = time.monotonic() + 20
    while edge.num_fds() > before + 20:
        assert time.monotonic() < until, edge.num_fds()
        time.sleep(0.1)
    record_fault(Row("clients: 2,000 idle connections", "4 clients", traffic.tally, None))
