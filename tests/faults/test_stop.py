"""A service that is told to stop, under load and while it starts.

The files that use `faulty` run in the order of their names: this one is the last, as it stops the service.
"""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.server import START_TIMEOUT_S

from .faulty_service import BODY_TIMEOUT_MS, FaultyService
from .table import RecordFault, Row
from .versions import Start


def test_told_to_stop_under_load_it_responds_to_what_it_has_accepted(
    faulty: FaultyService, record_fault: RecordFault
) -> None:
    """A request whose body is still on its way holds up the stop; nobody is connected to nobody meanwhile."""
    server = faulty.server
    assert server.process is not None
    with faulty.traffic() as traffic, socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        traffic.wait_for_answers(50)
        slow.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX-Request-Id: slow\r\n\r\nhalf")
        time.sleep(0.2)
        at, mark = time.monotonic(), len(server.log)
        server.process.send_signal(signal.SIGTERM)
        traffic.stop_asking()
        time.sleep(BODY_TIMEOUT_MS / 2000)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=20)
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        status = server.process.wait(30)
    tally = traffic.tally
    assert status == 0, server.log
    warnings = [line for line in server.log[mark:].splitlines() if "[WARNING]" in line]
    assert not [line for line in warnings if "request_id=slow" not in line], server.log  # Nothing is amiss.
    assert (tally.refused, tally.failed, tally.wrong) == (0, 0, 0), tally
    assert not [began for began in traffic.lost_began if began < at], traffic.tally
    record_fault(Row("pod: SIGTERM", "8 clients", tally, None))


def test_told_to_stop_while_it_starts_its_processes_it_stops(tmp_path: Path, started: Start) -> None:
    """The store is empty, which is logged right before the supervisor begins to start them."""
    server = started(MODEL_STORE_URL=f"file://{tmp_path}")
    assert server.process is not None
    until = time.monotonic() + START_TIMEOUT_S
    while "No model yet" not in server.log:
        assert time.monotonic() < until
        time.sleep(0.001)
    time.sleep(0.025)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) in (0, -signal.SIGTERM), server.log
    assert "negative file descriptor" not in server.log
