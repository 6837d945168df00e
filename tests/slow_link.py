"""A slow or broken network link for tests: a TCP proxy on loopback that limits, counts and cuts connections.

`python -m tests.slow_link PORT` runs one in a separate process until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import Self

CHUNK_BYTES = 2**16

PACE_S = 0.004
"""Shorter waits in seconds are skipped, because they would cost more than they delay."""


class SlowLink:
    """A link to one port. Use it as a context manager; its attributes may be changed while it runs."""

    def __init__(self, upstream: int, *, rate: float = 0.0, latency_s: float = 0.0) -> None:
        """Configure the link.

        Args:
            upstream: The port on loopback to connect to.
            rate: Bytes per second of each connection towards the client; 0 for no limit.
            latency_s: Delay in seconds of data from the client, and of new connections.
        """
        self.upstream = upstream
        self.rate = rate
        self.latency_s = latency_s
        self.port = 0
        self.received = 0
        """Total bytes received by clients."""
        self.connections = 0
        self.cut_after: int | None = None
        """Cut all connections and accept no new ones after this many bytes in total; None never."""
        self.cut_each: int | None = None
        """Cut each connection after this many bytes, and accept new ones; None never."""
        self.stall_after: int | None = None
        """Pass no more data after this many bytes in total, without cutting connections; None never."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-link", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._mended = 0

    @property
    def endpoint(self) -> str:
        """Return the URL of the link."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def mend(self) -> None:
        """Pass all data again and reset the counters, ignoring data of old connections."""
        self._mended += 1
        self.cut_after = self.cut_each = self.stall_after = None
        self.received = self.connections = 0

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        self.stall_after = None
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=1)
            for task in tasks:
                task.cancel()

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _is_cut(self) -> bool:
        return self.cut_after is not None and self.received >= self.cut_after

    def _is_stalled(self) -> bool:
        return self.stall_after is not None and self.received >= self.stall_after

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._is_cut():
                writer.transport.abort()
                return
            self.connections += 1
            await asyncio.sleep(self.latency_s)
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._open.add(up_writer)
            try:
                await asyncio.gather(self._send(reader, up_writer), self._receive(up_reader, writer))
            finally:
                self._open.discard(up_writer)
                up_writer.close()
        except OSError:
            pass  # one end closed the connection
        finally:
            self._open.discard(writer)
            writer.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward data of the client, delayed by `latency_s`."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                at, data = await due.get()
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                if not data:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        delivery = asyncio.ensure_future(deliver())
        try:
            data = b"first"
            while data:
                data = await reader.read(CHUNK_BYTES)
                due.put_nowait((time.monotonic() + self.latency_s, data))
            await delivery
        finally:
            delivery.cancel()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward data of the server, at most at `rate`."""
        free_at = time.monotonic()
        passed, mended = 0, self._mended
        while data := await reader.read(CHUNK_BYTES):
            while self._is_stalled():  # noqa: ASYNC110 -- set from other threads
                await asyncio.sleep(0.02)
            if self.rate:
                free_at = max(free_at, time.monotonic() - 0.05) + len(data) / self.rate
                if (ahead := free_at - time.monotonic()) > PACE_S:
                    await asyncio.sleep(ahead)
            writer.write(data)
            await writer.drain()
            passed += len(data)
            if mended == self._mended:
                self.received += len(data)
            if self._is_cut():
                self._cut()
            elif self.cut_each is not None and passed >= self.cut_each:
                writer.transport.abort()
                return
        writer.close()


def main() -> None:
    """Run a link and print its port."""
    parser = argparse.ArgumentParser(prog="python -m tests.slow_link", description=__doc__)
    parser.add_argument("upstream", type=int, metavar="PORT", help="port on loopback to connect to")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes per second of a connection; 0 for no limit")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    args = parser.parse_args()
    with SlowLink(args.upstream, rate=args.rate, latency_s=args.latency_ms / 1000) as link:
        print(link.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
