"""A service that answers as it is told, and a place for gevent to run in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, TypeVar

import gevent

T = TypeVar("T")
ONE_ANSWER = b'{"predictions":[[0.25,0.75]]}'


class Slow(BaseHTTPRequestHandler):
    """Answers one request after another, each after a while; the model's name says how."""

    protocol_version = "HTTP/1.1"
    seconds: ClassVar[float] = 0.02
    turn: ClassVar[threading.Lock] = threading.Lock()
    connections: ClassVar[set[object]] = set()
    """That were opened."""
    keys: ClassVar[list[str | None]] = []
    """What each request said in `Authorization`."""

    def do_POST(self) -> None:
        self.connections.add(self.client_address)
        self.keys.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        how = self.path.removeprefix("/v1/models/").partition(":")[0]
        if how == "slow":
            with self.turn:
                time.sleep(self.seconds)
        if how == "hang":
            time.sleep(1.5)
        self.send_response({"full": 429, "away": 503, "broken": 500}.get(how, 200))
        if how != "unnamed":
            self.send_header("X-Model-Version", "3")
        if how == "once":
            self.send_header("Connection", "close")
        if how == "full":
            self.send_header("Retry-After", "7")
        body = b'{"predictions":[]}' if how == "empty" else ONE_ANSWER
        if how == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:5], body[5:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:10] if how == "cut" else body)
        self.close_connection = how in ("cut", "once", "leave")

    def log_message(self, *arguments: object) -> None:
        pass


class Impatient(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1000
    closed: ClassVar[threading.Event] = threading.Event()

    def shutdown_request(self, request: object) -> None:
        super().shutdown_request(request)  # type: ignore[arg-type]
        self.closed.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what it is for."""


@contextmanager
def slow_service() -> Iterator[str]:
    """Run such a service; gives its address."""
    Slow.connections.clear()
    with Impatient(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def in_gevent(function: Callable[[], T]) -> T:
    """Run a function in a thread of its own, whose greenlets end with it, and return what it returned."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return future.result()
