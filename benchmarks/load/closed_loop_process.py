"""The process behind `closed_loop.py`, and the loop itself; it costs next to nothing.

On a machine that the server shares with its load, the CPU time of the load is missing from what the server can do. This
loop sends requests that were built before it began over raw sockets, all from one thread, and parses no more of a
response than its status and its length; one response in 64 is parsed in full. It imports no other package, so that it
starts at once.
"""

from __future__ import annotations

import errno
import json
import math
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .closed_loop import OK, Report
from .http_response import ProtocolError, ResponseReader

CUT_OFF = "cut off"
NO_RESPONSE = "no response in time"
WRONG = "wrong response"
NOT_CONNECTED = "not connected"

_READ_BYTES = 2**18
_SEND_BUFFER_BYTES = 2**19
"""Room in the kernel for a whole request, so that sending it takes one call."""

_PAUSE_S = 0.01
"""How long all clients wait after a failed connection: trying again at once would take a core."""

_POLL_S = 0.5
"""How soon `stop` is noticed."""

_TIMEOUT_S = 60.0
"""How long a response may take."""


Observe = Callable[[float, float, str, ResponseReader], None]
"""Takes the times of sending and end (`time.perf_counter`), the status or the failure, and the response."""


@dataclass(eq=False)
class _Client:
    """One connection and the request in flight on it."""

    turn: int
    """Index of the next body."""
    socket: socket.socket | None = None
    connected: bool = False
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    started: float = 0.0
    reader: ResponseReader | None = None


class ClosedLoop:
    """A number of clients, each of which sends its next request as soon as it has its response; for Linux."""

    def __init__(
        self,
        url: str,
        bodies: Sequence[bytes],
        clients: int,
        *,
        check: Callable[[bytes], bool] = lambda _: True,
        check_every: int = 64,
        back_off_s: float = 0.0,
        observe: Observe | None = None,
    ) -> None:
        """Build the requests.

        Args:
            url: Where to post.
            bodies: JSON documents, sent in turn.
            clients: How many.
            check: Return whether the body of a response is right.
            check_every: One response in so many is checked.
            back_off_s: How long a client waits after any response but 200.
            observe: Called with each request that ends.
        """
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._requests = [memoryview(_request(parts.path or "/", parts.netloc, body)) for body in bodies]
        self._clients = [_Client(turn) for turn in range(clients)]
        self._check, self._check_every = check, check_every
        self._back_off_s, self._observe = back_off_s, observe
        self._waiting: deque[tuple[float, _Client]] = deque()
        self._by_descriptor: dict[int, _Client] = {}
        self._epoll = select.epoll()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._report = Report(0.0)
        self._counting = False
        self._sending = True
        self._under_way = 0

    def run(self, seconds: float, settle_s: float = 0.5) -> Report:
        """Send for `settle_s`, then for `seconds` in which responses are counted, and wait for requests in flight.

        A request without a whole response counts as failed; its client goes on over a new connection.
        """
        begin = time.perf_counter() + settle_s
        end = begin + seconds
        for client in self._clients:
            self._send_next(client)
        self._serve_until(begin)
        self._counting, cpu = True, time.process_time()
        begin = time.perf_counter()
        self._serve_until(end)
        self._counting, self._sending = False, False
        self._waiting.clear()
        self._report.seconds = time.perf_counter() - begin
        self._report.cpu_s = time.process_time() - cpu
        self._serve_until(time.perf_counter() + _TIMEOUT_S)
        # A request without a response by now counts, whenever it was sent.
        if self._under_way:
            self._report.statuses[NO_RESPONSE] += self._under_way
        for client in self._clients:
            self._close(client)
        self._epoll.close()
        return self._report

    def stop(self) -> None:
        """End `run` in another thread within half a second, once no request is in flight."""
        self._sending = False

    def _serve_until(self, until: float) -> None:
        sending = self._sending
        while (self._under_way or self._waiting) and self._sending == sending:
            now = time.perf_counter()
            if now >= until:
                return
            while self._waiting and self._waiting[0][0] <= now:
                self._send_next(self._waiting.popleft()[1])
            due = self._waiting[0][0] if self._waiting else until
            for descriptor, _ in self._epoll.poll(min(_POLL_S, max(0.0, min(until, due) - now))):
                client = self._by_descriptor.get(descriptor)
                if client and client.unsent:
                    self._send(client)
                elif client:
                    self._receive(client)

    def _send_next(self, client: _Client) -> None:
        self._under_way += 1
        client.unsent = self._requests[client.turn % len(self._requests)]
        client.turn += 1
        client.reader = ResponseReader()
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
        connection.connect_ex(self._address)  # The result is known once the socket is writable.

    def _send(self, client: _Client) -> None:
        assert client.socket is not None
        if not client.connected:
            if error := client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                time.sleep(0.0 if self._back_off_s else _PAUSE_S)
                self._end(client, f"{NOT_CONNECTED} ({errno.errorcode.get(error, error)})")
                return
            client.connected = True
            self._epoll.modify(client.socket.fileno(), select.EPOLLIN)
        try:
            sent = client.socket.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # A server that rejects a request without reading it may have responded before it closed the connection.
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
        if reader is None:  # No request is in flight: the server has closed an idle connection, or sends unasked.
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
        """Count a completed request, and send the client's next one."""
        now = time.perf_counter()
        reader, client.reader = client.reader, None
        assert reader is not None
        self._under_way -= 1
        self._report.requests += 1
        if status == OK and self._report.requests % self._check_every == 0 and not self._check(reader.body):
            status = WRONG
        if self._counting:
            self._report.statuses[status] += 1
            if status == OK:
                self._report.latencies_ms.append(1000 * (now - client.started))
        if self._observe:
            self._observe(client.started, now, status, reader)
        if not reader.keeps_open or not reader.status:
            self._close(client)
        if self._sending and self._back_off_s and status != OK:
            self._waiting.append((now + self._back_off_s, client))
        elif self._sending:
            self._send_next(client)

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
    """Return a check of whether a body is a response of TensorFlow Serving with so many rows of numbers."""

    def check(body: bytes) -> bool:
        try:
            predictions = json.loads(body)["predictions"]
            return len(predictions) == rows and all(math.isfinite(sum(row)) for row in predictions)
        except (ValueError, KeyError, TypeError):
            return False

    return check


def main() -> None:
    """Run the plan that is the only argument, and print the report as JSON."""
    plan = json.loads(sys.argv[1])
    bodies = [Path(path).read_bytes() for path in plan["bodies"]]
    loop = ClosedLoop(
        plan["url"], bodies, plan["clients"], check=has_predictions(plan["rows"]), back_off_s=plan["back_off_s"]
    )
    json.dump(vars(loop.run(plan["seconds"], plan["settle_s"])), sys.stdout)


if __name__ == "__main__":
    main()
