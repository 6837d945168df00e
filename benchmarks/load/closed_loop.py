"""A closed loop of clients that costs next to nothing.

`python -m benchmarks.load.closed_loop URL BODY.json [BODY.json …]` is started by `python -m benchmarks compare`.
On a machine that the server shares with its load, what the load costs is missing from what the server can do. This
one sends requests that were built before it began over raw sockets, all from one thread, and reads of an answer no
more than its status and its length; every so many answers one is looked at in full. It prints one JSON document.
Of other packages it imports none, so that it starts at once.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measuring.summary import percentile

from .http_response import AnswerReader, ProtocolError

ANSWERED = "200"
"""The status of the answers that count."""

CUT_OFF = "cut off"
NO_ANSWER = "no answer in time"
WRONG = "wrong answer"
NOT_CONNECTED = "not connected"

_READ_BYTES = 2**18
_SEND_BUFFER_BYTES = 2**19
"""Room in the kernel for a whole request, so that sending it takes one call."""

_PAUSE_S = 0.01
"""All clients rest after one found nobody to connect to, or they would take a core for finding that again."""

_PATIENCE_S = 60.0
"""How long an answer is waited for."""


@dataclass
class Report:
    """What the clients saw."""

    seconds: float
    """Of the window in which answers were counted."""
    latencies_ms: list[float] = field(default_factory=list)
    """Of the answers with status 200 that came in the window."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How many answers of the window had which status, or what came instead of one."""
    answers: int = 0
    """Requests that ended in all, those before and after the window included."""
    cpu_s: float = 0.0
    """CPU time that the clients took in the window."""

    @property
    def rate(self) -> float:
        """Return the answers with status 200 a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def failures(self) -> int:
        """Return how many answers of the window were no 200."""
        return sum(self.statuses.values()) - self.statuses[ANSWERED]

    def percentile_ms(self, share: float) -> float:
        """Return the latency below which this share of the answers lies, in ms."""
        return percentile(self.latencies_ms, share)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `python -m benchmarks.comparison.lean_client` printed."""
        document: dict[str, Any] = json.loads(text)
        return cls(**{**document, "statuses": Counter(document["statuses"])})


@dataclass(eq=False)
class _Client:
    """One connection, and the request under way on it."""

    turn: int
    """Which body comes next."""
    socket: socket.socket | None = None
    connected: bool = False
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    started: float = 0.0
    reader: AnswerReader | None = None


class Clients:
    """So many clients, each of which asks again as soon as it has its answer; for Linux."""

    def __init__(
        self,
        url: str,
        bodies: Sequence[bytes],
        clients: int,
        *,
        check: Callable[[bytes], bool] = lambda _: True,
        check_every: int = 64,
    ) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._requests = [memoryview(_request(parts.path or "/", parts.netloc, body)) for body in bodies]
        self._clients = [_Client(turn) for turn in range(clients)]
        self._check, self._check_every = check, check_every
        self._by_descriptor: dict[int, _Client] = {}
        self._epoll = select.epoll()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._report = Report(0.0)
        self._counting = False
        self._asking = True
        self._under_way = 0

    def run(self, seconds: float, settle_s: float = 0.5) -> Report:
        """Ask for `settle_s`, then for `seconds` in which answers are counted, and wait for those still under way.

        A client whose answer does not come, or breaks off, counts as failed and goes on over a new connection.
        """
        begin = time.perf_counter() + settle_s
        end = begin + seconds
        for client in self._clients:
            self._ask(client)
        self._serve_until(begin)
        self._counting, cpu = True, time.process_time()
        begin = time.perf_counter()
        self._serve_until(end)
        self._counting, self._asking = False, False
        self._report.seconds = time.perf_counter() - begin
        self._report.cpu_s = time.process_time() - cpu
        self._serve_until(time.perf_counter() + _PATIENCE_S)
        # Who has no answer by now counts, whenever the request was sent.
        if self._under_way:
            self._report.statuses[NO_ANSWER] += self._under_way
        for client in self._clients:
            self._close(client)
        self._epoll.close()
        return self._report

    def _serve_until(self, until: float) -> None:
        while (left := until - time.perf_counter()) > 0 and self._under_way:
            for descriptor, _ in self._epoll.poll(left):
                client = self._by_descriptor.get(descriptor)
                if client and client.unsent:
                    self._send(client)
                elif client:
                    self._receive(client)

    def _ask(self, client: _Client) -> None:
        self._under_way += 1
        client.unsent = self._requests[client.turn % len(self._requests)]
        client.turn += 1
        client.reader = AnswerReader()
        client.started = time.perf_counter()
        if client.socket is None:
            self._connect(client)
        else:
            self._send(client)

    def _connect(self, client: _Client) -> None:
        client.socket = connection = socket.socket(self._family, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        client.connected = False
        self._by_descriptor[connection.fileno()] = client
        self._epoll.register(connection.fileno(), select.EPOLLOUT)
        connection.connect_ex(self._address)  # Whether it came about is seen once the socket can be written.

    def _send(self, client: _Client) -> None:
        assert client.socket is not None
        if not client.connected:
            if error := client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                time.sleep(_PAUSE_S)
                self._end(client, f"{NOT_CONNECTED} ({errno.errorcode.get(error, error)})")
                return
            client.connected = True
            self._epoll.modify(client.socket.fileno(), select.EPOLLIN)
        try:
            sent = client.socket.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # A server that refuses a request without reading it may have answered before it hung up.
            client.unsent = memoryview(b"")
            self._receive(client)
            return
        client.unsent = client.unsent[sent:]
        if client.unsent:
            self._epoll.modify(client.socket.fileno(), select.EPOLLOUT)
        elif sent < len(self._requests[(client.turn - 1) % len(self._requests)]):
            self._epoll.modify(client.socket.fileno(), select.EPOLLIN)

    def _receive(self, client: _Client) -> None:
        assert client.socket is not None
        reader = client.reader
        try:
            length = client.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            length = 0
        if reader is None:  # Nothing was asked: the server has closed a connection that rests, or talks unasked.
            self._close(client)
            return
        try:
            if length == 0:
                reader.keeps_open = False
                self._end(client, reader.status if reader.ends_with_connection() else CUT_OFF)
            elif reader.feed(self._buffer[:length]):
                self._end(client, reader.status)
        except ProtocolError as error:
            reader.keeps_open = False
            self._end(client, f"{WRONG}: {error}")

    def _end(self, client: _Client, status: str) -> None:
        """Count what became of a request, and ask again."""
        now = time.perf_counter()
        reader, client.reader = client.reader, None
        assert reader is not None
        self._under_way -= 1
        self._report.answers += 1
        if status == ANSWERED and self._report.answers % self._check_every == 0 and not self._check(reader.body):
            status = WRONG
        if self._counting:
            self._report.statuses[status] += 1
            if status == ANSWERED:
                self._report.latencies_ms.append(1000 * (now - client.started))
        if not reader.keeps_open or not reader.status:
            self._close(client)
        if self._asking:
            self._ask(client)

    def _close(self, client: _Client) -> None:
        if client.socket:
            self._epoll.unregister(client.socket.fileno())
            del self._by_descriptor[client.socket.fileno()]
            client.socket.close()
        client.socket, client.unsent = None, memoryview(b"")


def _request(path: str, host: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def has_predictions(rows: int) -> Callable[[bytes], bool]:
    """Return what tells whether a body is TensorFlow Serving's answer of so many rows of numbers."""

    def check(body: bytes) -> bool:
        try:
            predictions = json.loads(body)["predictions"]
            return len(predictions) == rows and all(math.isfinite(sum(row)) for row in predictions)
        except (ValueError, KeyError, TypeError):
            return False

    return check


def main() -> None:
    """Ask, and print what was seen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.closed_loop", description=__doc__)
    parser.add_argument("url", metavar="URL", help="http://host:port/v1/models/NAME:predict")
    parser.add_argument("bodies", metavar="BODY.json", type=Path, nargs="+", help="what to post, in turn")
    parser.add_argument("--clients", type=int, default=8, help="how many ask at once (8)")
    parser.add_argument("--seconds", type=float, default=5, help="how long answers are counted (5)")
    parser.add_argument("--settle", type=float, default=0.5, help="seconds of load before that (0.5)")
    parser.add_argument("--rows", type=int, default=1, help="predictions in an answer (1)")
    parser.add_argument("--check-every", type=int, default=64, help="one answer in so many is read in full (64)")
    options = parser.parse_args()
    bodies = [path.read_bytes() for path in options.bodies]
    check = has_predictions(options.rows)
    clients = Clients(options.url, bodies, options.clients, check=check, check_every=options.check_every)
    json.dump(vars(clients.run(options.seconds, options.settle)), sys.stdout)


if __name__ == "__main__":
    main()
