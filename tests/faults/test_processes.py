"""Processes that die or hang, and engines that break, while clients send requests."""

from __future__ import annotations

import json
import signal
import threading
import time
from base64 import b64encode
from io import BytesIO

import httpx
import psutil
import pytest
from PIL import Image

from .faulty_service import FaultyService
from .table import RecordFault, Row
from .traffic import PREDICT

BACK_WITHIN_S = 30.0
"""A limit for the test, not a promise, since CI machines are slow; docs/benchmarks/faults.md has figures."""

EIGHT_CLIENTS = "8 clients"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_runner_that_is_gone_is_replaced_and_nothing_is_lost(
    faulty: FaultyService, record_fault: RecordFault, how: signal.Signals
) -> None:
    before = faulty.restarts()
    with faulty.traffic() as traffic:
        traffic.wait_for_answers(30)
        runner = faulty.server.runner()
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
    assert faulty.restarts() == before + 1
    assert faulty.server.runner().pid != runner.pid
    record_fault(Row(f"runner: {how.name}", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_requests_that_cannot_wait_for_the_next_runner_fail_in_time(faulty: FaultyService, eight: bytes) -> None:
    client, statuses = faulty.server.client, set[int]()
    assert client.post(PREDICT, content=eight).status_code == 200
    faulty.server.runner().send_signal(signal.SIGKILL)
    until = time.monotonic() + BACK_WITHIN_S
    while not (200 in statuses and len(statuses) > 1):
        assert time.monotonic() < until, statuses
        response = client.post(PREDICT, content=eight, headers={"X-Request-Timeout-Ms": "300"})
        statuses.add(response.status_code)
        assert list(response.json()) in (["error"], ["predictions"])
        time.sleep(0.1)
    assert client.get("/livez").status_code == 200
    assert statuses <= {200, 503, 504}


def test_an_edge_that_is_killed_takes_only_what_it_had_in_hand(
    faulty: FaultyService, record_fault: RecordFault
) -> None:
    runner = faulty.server.runner().pid
    with faulty.traffic() as traffic:
        traffic.wait_for_answers(30)
        at = time.monotonic()
        faulty.server.edge().kill()
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.failed, tally.wrong) == (0, 0), tally
    assert tally.lost <= 8, tally
    assert faulty.server.runner().pid == runner
    record_fault(Row("edge: SIGKILL", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "the device is gone"),
        ("nan", "not finite"),
        ("shape", "scores of shape"),
    ],
)
def test_an_engine_that_fails_is_said_to_and_goes_on(
    faulty: FaultyService, record_fault: RecordFault, fault: str, reason: str
) -> None:
    runner = faulty.server.runner().pid
    with faulty.traffic() as traffic:
        traffic.wait_for_answers(30)
        faulty.inject(fault)
        while traffic.tally.failed < 10:
            time.sleep(0.02)
        faulty.inject("")
        at = time.monotonic()
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.refused, tally.wrong, tally.lost) == (0, 0, 0), tally
    assert set(tally.statuses) == {200, 500}
    assert reason in tally.problems[0]
    assert faulty.server.runner().pid == runner
    record_fault(Row(f"engine: {fault}", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_a_runner_without_memory_fails_or_is_replaced(faulty: FaultyService, record_fault: RecordFault) -> None:
    """Where the memory runs out is chance: in Python it is an error, in C++ it may end the process."""
    runner = faulty.server.runner().pid
    with faulty.traffic() as traffic:
        traffic.wait_for_answers(30)
        faulty.inject("memory")
        at, until = time.monotonic(), time.monotonic() + BACK_WITHIN_S
        while not traffic.tally.failed and psutil.pid_exists(runner):
            assert time.monotonic() < until
            time.sleep(0.02)
        faulty.inject("")
        traffic.wait_for_answers(30, 2 * BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.wrong, tally.lost) == (0, 0), tally
    assert set(tally.statuses) <= {200, 500, 503}, tally
    record_fault(Row("engine: memory", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_one_bad_image_fails_alone(faulty: FaultyService, record_fault: RecordFault) -> None:
    black = BytesIO()
    Image.new("L", (8, 8)).save(black, "PNG")
    bad = json.dumps({"instances": [{"b64": b64encode(black.getvalue()).decode()}]}).encode()
    over = threading.Event()
    statuses: set[int] = set()

    def ask_badly() -> None:
        with httpx.Client(base_url=faulty.server.url, timeout=30) as client:
            while not over.is_set():
                statuses.add(client.post(PREDICT, content=bad).status_code)

    faulty.inject("raise bad")
    asker = threading.Thread(target=ask_badly)
    try:
        with faulty.traffic() as traffic:
            asker.start()
            traffic.wait_for_answers(100)
    finally:
        over.set()
        asker.join()
        faulty.inject("")
    assert statuses == {500}
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row("engine: raises on one image", "8 clients, 1 bad", traffic.tally, None))


@pytest.mark.parametrize("fault", ["hang", "exit"])
def test_an_engine_that_hangs_or_ends_its_process_is_replaced(
    faulty: FaultyService, record_fault: RecordFault, fault: str
) -> None:
    before = faulty.restarts()
    with faulty.traffic() as traffic:
        traffic.wait_for_answers(30)
        runner = faulty.server.runner()
        faulty.inject(fault)
        at = time.monotonic()
        if fault == "hang":
            time.sleep(0.5)
        else:
            runner.wait(10)
        faulty.inject("")
        until = time.monotonic() + BACK_WITHIN_S
        while faulty.restarts() == before:
            assert time.monotonic() < until, faulty.server.log[-3000:]
            time.sleep(0.1)
        traffic.wait_for_answers(30, BACK_WITHIN_S)
    tally = traffic.tally
    assert (tally.failed, tally.wrong, tally.lost) == (0, 0, 0), tally
    if fault == "hang":
        assert "a batch should have been done" in faulty.server.log
    record_fault(Row(f"engine: {fault}", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


@pytest.mark.parametrize("seconds", [86400, -86400])
def test_a_clock_that_jumps_changes_nothing(faulty: FaultyService, record_fault: RecordFault, seconds: int) -> None:
    with faulty.traffic() as traffic:
        traffic.wait_for_answers(30)
        faulty.inject(f"clock {seconds}")
        traffic.wait_for_answers(60)
        faulty.inject("")
        traffic.wait_for_answers(30)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row(f"clock, as Python reads it: {seconds:+d} s", EIGHT_CLIENTS, traffic.tally, None))
