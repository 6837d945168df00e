"""The closed loop against real sockets that answer well, badly, or not at all."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.load import closed_loop_process
from benchmarks.load.closed_loop_process import CUT_OFF, OK, WRONG, ClosedLoop, Report, has_predictions
from benchmarks.load.http_response import ProtocolError, ResponseReader

BODY = json.dumps({"instances": [{"b64": "QUJD" * 13_000}]}).encode()
ANSWER = b'{"predictions": [[0.25, 0.75]]}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    ANSWER[:5],
    len(ANSWER) - 5,
    ANSWER[5:],
)
CLOSING = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + ANSWER
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"

Talk = Callable[[socket.socket], None]


def read_request(connection: socket.socket) -> bytes:
    """Read a whole request, or nothing where the client has hung up."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(2**16)):
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(2**16)
    assert body == BODY
    return head


def answers(*texts: bytes, hang_up: bool = False, pause_s: float = 0.0) -> Talk:
    """Return what answers each request in these pieces, then hangs up if told so."""

    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            for text in texts:
                connection.sendall(text)
                time.sleep(pause_s)
            if hang_up:
                return

    return talk


@contextmanager
def server(talk: Talk) -> Iterator[str]:
    """Talk to each connection in a thread."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            talk(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/m:predict"
        listener.shutdown(socket.SHUT_RDWR)


def ask(talk: Talk, clients: int = 3, seconds: float = 0.2, enough: int = 1) -> Report:
    """Ask for some seconds; where little came of it, on a busy machine, for longer."""
    with server(talk) as url:
        while True:
            report = ClosedLoop(url, [BODY], clients, check=has_predictions(1), check_every=1).run(
                seconds, settle_s=0.05
            )
            if sum(report.statuses.values()) >= enough or seconds > 10:
                return report
            seconds *= 4


@pytest.mark.parametrize(
    "talk",
    [
        answers(PLAIN),
        answers(PLAIN[:30], PLAIN[30:60], PLAIN[60:], pause_s=0.002),
        answers(CHUNKED),
        answers(*(CHUNKED[at : at + 1] for at in range(len(CHUNKED)))),
        answers(CLOSING, hang_up=True),
        answers(PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), hang_up=True),
    ],
    ids=["plain", "in pieces", "chunked", "byte by byte", "ends with the connection", "closed by the server"],
)
def test_answers_are_counted_and_timed(talk: Talk) -> None:
    report = ask(talk, enough=4)
    assert set(report.statuses) == {OK}
    assert len(report.latencies_ms) == report.statuses[OK] >= 4
    assert report.failures == {}
    assert report.requests >= report.statuses[OK]
    assert 0 < report.percentile_ms(0.5) <= report.percentile_ms(0.99)
    assert report.cpu_s > 0


def test_latency_counts_from_the_sending() -> None:
    report = ask(lambda connection: answers(b"", PLAIN, pause_s=0.02)(connection), clients=1, seconds=0.3)
    assert min(report.latencies_ms) >= 20
    assert report.rate <= 50


def test_refusals_are_failures_by_status() -> None:
    report = ask(answers(REFUSAL))
    assert set(report.statuses) == {"503"}
    assert report.latencies_ms == []
    assert report.failures == report.statuses


@pytest.mark.parametrize(
    ("talk", "status"),
    [
        (answers(PLAIN[:-5], hang_up=True), CUT_OFF),
        (answers(CHUNKED[:-5], hang_up=True), CUT_OFF),
        (answers(b"", hang_up=True), CUT_OFF),
        (answers(b"SSH-2.0-x\r\n\r\n\r\n"), WRONG),
        (answers(PLAIN + PLAIN), WRONG),
        (answers(PLAIN.replace(b"0.25", b"true").replace(b"[[", b"[{").replace(b"]]", b"}]")), WRONG),
    ],
    ids=["short", "short of chunks", "nothing", "not HTTP", "two at once", "no predictions"],
)
def test_what_is_no_answer_is_a_failure(talk: Talk, status: str) -> None:
    report = ask(talk)
    assert report.latencies_ms == []
    assert report.failures
    assert all(found.startswith(status) for found in report.statuses)


def test_a_client_backs_off_after_a_rejection() -> None:
    with server(answers(REFUSAL)) as url:
        report = ClosedLoop(url, [BODY], 3, back_off_s=0.2).run(0.5, settle_s=0.0)
    assert 3 <= report.statuses["503"] <= 9


def test_a_loop_is_stopped_from_another_thread_and_shows_each_response() -> None:
    seen: list[tuple[bytes, str]] = []
    with server(answers(PLAIN.replace(b"\r\n\r\n", b"\r\nX-Model-Version: 7\r\n\r\n"))) as url:
        loop = ClosedLoop(
            url,
            [BODY],
            2,
            observe=lambda _s, _e, status, reply: seen.append((reply.header(b"x-model-version"), status)),
        )
        thread = threading.Thread(target=loop.run, args=(math.inf,))
        thread.start()
        time.sleep(0.3)
        loop.stop()
        thread.join(5)
        assert not thread.is_alive()
    assert set(seen) == {(b"7", "200")}


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    report = ClosedLoop(f"http://127.0.0.1:{port}/", [BODY], 2).run(0.2, settle_s=0.0)
    assert set(report.statuses) == {"not connected (ECONNREFUSED)"}


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_loop_process, "_TIMEOUT_S", 0.2)
    release = threading.Event()
    report = ask(lambda connection: (read_request(connection), release.wait(5), None)[2], clients=2)
    release.set()
    assert report.statuses == {"no response in time": 2}


def test_one_bad_client_does_not_hold_up_the_others() -> None:
    first = threading.Lock()
    release = threading.Event()

    def talk(connection: socket.socket) -> None:
        if first.acquire(blocking=False):
            read_request(connection)
            release.wait(0.5)
            return
        answers(PLAIN)(connection)

    report = ask(talk, enough=5)
    assert report.statuses[OK] >= 4


@pytest.mark.parametrize(
    "head", [b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"x" * 2**17]
)
def test_broken_heads_are_told(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseReader().feed(head)
