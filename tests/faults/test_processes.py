"""Processes that die, hang or are told to stop, and engines that break, while callers ask."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from tests.server import START_TIMEOUT_S, Server

from .table import RecordFault, Row
from .traffic import PREDICT, Traffic
from .versions import Start

BACK_WITHIN_S = 30.0
"""A limit for the test, not a promise, since CI machines are slow; docs/benchmarks/faults.md has figures."""

EIGHT_CLIENTS = "8 clients"


class Broken:
    """A service whose engine can be broken."""

    def __init__(self, server: Server, fault: Path, body: bytes) -> None:
        self.server = server
        self._fault = fault
        self._body = body

    def inject(self, fault: str) -> None:
        """Break it, or with an empty text mend it."""
        self._fault.write_text(fault)

    def traffic(self, clients: int = 8, timeout_ms: int = 20_000) -> Traffic:
        return Traffic(self.server.url, self._body, is_eight, clients=clients, timeout_ms=timeout_ms)

    def restarts(self) -> float:
        return metric(self.server, "xception_runner_restarts_total")


def is_eight(answer: httpx.Response) -> bool:
    scores = answer.json()["predictions"][0]
    return max(range(10), key=scores.__getitem__) == 8


def metric(server: Server, name: str) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def broken(store_url: str, eight: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """One service for all tests here: each leaves it as sound as it was."""
    folder = tmp_path_factory.mktemp("broken")
    server = Server(
        folder,
        target="tests.faults.faulty_app:EdgeService",
        MODEL_STORE_URL=store_url,
        ENGINE="openvino",
        FAULT_FILE=str(folder / "fault"),
        ENGINE_TIMEOUT_S="1",
        BODY_TIMEOUT_MS="2000",
    )
    with server:
        yield Broken(server, folder / "fault", eight)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_runner_that_is_gone_is_replaced_and_nothing_is_lost(
    broken: Broken, record_fault: RecordFault, how: signal.Signals
) -> None:
    before = broken.restarts()
    with broken.traffic() as traffic:
        traffic.wait_for_answers(30)
        runner = broken.server.runner()
        runner.send_signal(how)
        at = time.monotonic()
        if how == signal.SIGKILL:
            runner.wait(10)
        else:
            time.sleep(0.5)  # What was answered and on its way has arrived.
            at = time.monotonic()
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.failed, tally.wrong, tally.lost) == (0, 0, 0), tally
    assert tally.answered + tally.refused == tally.sent
    assert traffic.slowest_s < 25  # Nobody hangs beyond the deadline.
    assert broken.restarts() == before + 1
    assert broken.server.runner().pid != runner.pid
    record_fault(Row(f"runner: {how.name}", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_an_edge_that_is_killed_takes_only_what_it_had_in_hand(broken: Broken, record_fault: RecordFault) -> None:
    runner = broken.server.runner().pid
    with broken.traffic() as traffic:
        traffic.wait_for_answers(30)
        at = time.monotonic()
        broken.server.edge().kill()
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.failed, tally.wrong) == (0, 0), tally
    assert tally.lost <= 8, tally
    assert broken.server.runner().pid == runner
    record_fault(Row("edge: SIGKILL", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "the device is gone"),
        ("nan", "no finite numbers"),
        ("shape", "scores of shape"),
    ],
)
def test_an_engine_that_fails_is_said_to_and_goes_on(
    broken: Broken, record_fault: RecordFault, fault: str, reason: str
) -> None:
    runner = broken.server.runner().pid
    with broken.traffic() as traffic:
        traffic.wait_for_answers(30)
        broken.inject(fault)
        while traffic.tally.failed < 10:
            time.sleep(0.02)
        broken.inject("")
        at = time.monotonic()
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.refused, tally.wrong, tally.lost) == (0, 0, 0), tally
    assert set(tally.statuses) == {200, 500}
    assert reason in tally.problems[0]
    assert broken.server.runner().pid == runner
    record_fault(Row(f"engine: {fault}", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_a_runner_without_memory_fails_or_is_replaced(broken: Broken, record_fault: RecordFault) -> None:
    """Where the memory runs out is chance: in Python it is an error, in C++ it may end the process."""
    runner = broken.server.runner().pid
    with broken.traffic() as traffic:
        traffic.wait_for_answers(30)
        broken.inject("memory")
        at, until = time.monotonic(), time.monotonic() + BACK_WITHIN_S
        while not traffic.tally.failed and psutil.pid_exists(runner):
            assert time.monotonic() < until
            time.sleep(0.02)
        broken.inject("")
        traffic.wait_for_answers(30, 2 * BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.wrong, tally.lost) == (0, 0), tally
    assert set(tally.statuses) <= {200, 500, 503}, tally
    record_fault(Row("engine: memory", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_one_bad_image_fails_alone(broken: Broken, record_fault: RecordFault) -> None:
    black = BytesIO()
    Image.new("L", (8, 8)).save(black, "PNG")
    bad = json.dumps({"instances": [{"b64": b64encode(black.getvalue()).decode()}]}).encode()
    over = threading.Event()
    statuses: set[int] = set()

    def ask_badly() -> None:
        with httpx.Client(base_url=broken.server.url, timeout=30) as client:
            while not over.is_set():
                statuses.add(client.post(PREDICT, content=bad).status_code)

    broken.inject("raise bad")
    asker = threading.Thread(target=ask_badly)
    try:
        with broken.traffic() as traffic:
            asker.start()
            traffic.wait_for_answers(100)
    finally:
        over.set()
        asker.join()
        broken.inject("")
    assert statuses == {500}
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row("engine: raises on one image", "8 clients, 1 bad", traffic.tally, None))


@pytest.mark.parametrize("fault", ["hang", "exit"])
def test_an_engine_that_hangs_or_ends_its_process_is_replaced(
    broken: Broken, record_fault: RecordFault, fault: str
) -> None:
    before = broken.restarts()
    with broken.traffic() as traffic:
        traffic.wait_for_answers(30)
        runner = broken.server.runner()
        broken.inject(fault)
        at = time.monotonic()
        if fault == "hang":
            time.sleep(0.5)
        else:
            runner.wait(10)
        broken.inject("")
        until = time.monotonic() + BACK_WITHIN_S
        while broken.restarts() == before:
            assert time.monotonic() < until, broken.server.log[-3000:]
            time.sleep(0.1)
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.failed, tally.wrong, tally.lost) == (0, 0, 0), tally
    if fault == "hang":
        assert "a batch should have been done" in broken.server.log
    record_fault(Row(f"engine: {fault}", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


@pytest.mark.parametrize("seconds", [86400, -86400])
def test_a_clock_that_jumps_changes_nothing(broken: Broken, record_fault: RecordFault, seconds: int) -> None:
    with broken.traffic() as traffic:
        traffic.wait_for_answers(30)
        broken.inject(f"clock {seconds}")
        traffic.wait_for_answers(60)
        broken.inject("")
        traffic.wait_for_answers(30)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row(f"clock, as Python reads it: {seconds:+d} s", EIGHT_CLIENTS, traffic.tally, None))


def test_told_to_stop_under_load_it_answers_what_it_has_taken(
    store_url: str, started: Start, eight: bytes, record_fault: RecordFault
) -> None:
    server = started(MODEL_STORE_URL=store_url, ENGINE="openvino")
    server.wait_for("/readyz")
    assert server.process is not None
    with Traffic(server.url, eight, is_eight) as traffic:
        traffic.wait_for_answers(50)
        at, mark = time.monotonic(), len(server.log)
        server.process.send_signal(signal.SIGTERM)
        traffic.stop_asking()
        status = server.process.wait(30)
    tally = traffic.tally
    assert status == 0, server.log
    assert "[WARNING]" not in server.log[mark:], server.log  # Nothing is amiss.
    assert (tally.refused, tally.failed, tally.wrong) == (0, 0, 0), tally
    assert not [began for began in traffic.lost_began if began < at], traffic.tally
    record_fault(Row("pod: SIGTERM", EIGHT_CLIENTS, tally, None))


@pytest.mark.parametrize("after_ms", [10, 25, 40])
def test_told_to_stop_while_it_starts_its_processes_it_stops(after_ms: int, tmp_path: Path, started: Start) -> None:
    """The store is empty, which is logged right before the supervisor begins to start them."""
    server = started(MODEL_STORE_URL=f"file://{tmp_path}")
    assert server.process is not None
    until = time.monotonic() + START_TIMEOUT_S
    while "No model yet" not in server.log:
        assert time.monotonic() < until
        time.sleep(0.001)
    time.sleep(after_ms / 1000)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) in (0, -signal.SIGTERM), server.log
    assert "negative file descriptor" not in server.log


def test_who_comes_while_it_stops_is_turned_away(store_url: str, started: Start) -> None:
    """A request that is on its way holds up the stop; callers who come meanwhile are not connected to nobody."""
    server = started(MODEL_STORE_URL=store_url, ENGINE="openvino", BODY_TIMEOUT_MS="3000")
    server.wait_for("/readyz")
    assert server.process is not None
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=20)
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert server.process.wait(30) == 0, server.log


def test_nothing_outlives_a_supervisor_that_is_killed(store_url: str, started: Start) -> None:
    server = started(MODEL_STORE_URL=store_url, ENGINE="openvino")
    server.wait_for("/readyz")
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    assert not psutil.wait_procs(family, timeout=30)[1], server.log
