"""Read large objects in several ranges at a time, in order.

The throughput of one connection is limited over a long distance, so a large object is fetched in a window of concurrent
ranges. They are yielded in the order of the object, so that they can be hashed and written sequentially.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from model_store.errors import IntegrityError, UnavailableError
from model_store.store.remote import Remote, Stream
from model_store.workers import Stop

RANGE_BYTES = 4 * 2**20
"""With a file of 90 MB larger ranges leave connections idle at its end; smaller ones wait for responses more often."""

WINDOW = 8
"""Maximum ranges in flight or waiting to be yielded, over all files of a transfer; limits its memory."""

PAUSE_S = 0.5
"""Pause between attempts to resume after a connection broke; each is several attempts of the library."""

_SLOT_POLL_S = 0.1
"""Interval at which a file that waits for the others checks for cancellation."""

_Blocks = list[bytes]


class Transfer:
    """Reads several objects of a store at once. Use it as a context manager; thread-safe."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._slots = threading.Semaphore(WINDOW)
        self._pool = ThreadPoolExecutor(WINDOW, thread_name_prefix="model-store-range")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def blocks(self, path: str, size: int, start: int, stop: Stop) -> Iterator[bytes]:
        """Yield the bytes of an object from `start` on, in order.

        A broken connection is resumed where it broke, until nothing arrives for the timeout of the store.

        Args:
            path: The object.
            size: The expected number of bytes; a larger object is not read to its end.
            start: The first byte; other than 0 only if the store supports ranges.
            stop: Cancels the transfer.

        Raises:
            IntegrityError: The object has another size, or was replaced meanwhile; not checked for small objects.
            StoreError: The store denied access, or could not be reached.
        """
        if self._remote.is_local:
            # A local folder has no connection that breaks, and reading it is not the bottleneck.
            yield from self._remote.stream(path, start) if start else self._remote.stream(path)
        elif size - start <= RANGE_BYTES or not (start or self._remote.supports_ranges(path)):
            yield from self._resuming(path, start, None, _ObjectIdentity(f"{self._remote.url}/{path}"), stop)
        else:
            yield from self._in_ranges(path, size, start, stop)

    def _in_ranges(self, path: str, size: int, start: int, stop: Stop) -> Iterator[bytes]:
        starts = iter(range(start, size, RANGE_BYTES))
        following = next(starts, None)
        identity = _ObjectIdentity(f"{self._remote.url}/{path}", size)
        given_up = Stop(stop)
        pending: deque[Future[_Blocks]] = deque()
        try:
            while following is not None or pending:
                while following is not None and self._take_slot(stop, must=not pending):
                    end = min(following + RANGE_BYTES, size)
                    pending.append(self._pool.submit(self._range, path, following, end, identity, given_up))
                    following = next(starts, None)
                yield from pending[0].result()
                pending.popleft()
                self._slots.release()
        finally:
            given_up.set()
            for future in pending:
                future.cancel()
            wait(pending)
            for _ in pending:
                self._slots.release()

    def _take_slot(self, stop: Stop, *, must: bool) -> bool:
        """Acquire a slot of the window; `must` waits for one.

        Only a file that holds no slot may wait: otherwise two files could deadlock.
        """
        if not must:
            return self._slots.acquire(blocking=False)
        while not self._slots.acquire(timeout=_SLOT_POLL_S):
            stop.check()
        return True

    def _range(self, path: str, start: int, end: int, identity: _ObjectIdentity, stop: Stop) -> _Blocks:
        blocks = []
        for block in self._resuming(path, start, end, identity, stop):
            stop.check()
            blocks.append(block)
        if (found := sum(map(len, blocks))) != end - start:
            raise IntegrityError(f"{identity.where}: the store sent {found} bytes of the {end - start} from {start}")
        return blocks

    def _resuming(
        self, path: str, start: int, end: int | None, identity: _ObjectIdentity, stop: Stop
    ) -> Iterator[bytes]:
        """Yield the bytes of a range of an object, and resume where a connection broke."""
        at, last_received = start, time.monotonic()
        while True:
            try:
                stream = self._remote.stream(path, at, end)
                identity.check(stream)
                for block in stream:
                    yield block
                    at, last_received = at + len(block), time.monotonic()
                return
            except UnavailableError:
                stop.check()
                if time.monotonic() - last_received > self._remote.patience_s:
                    raise
                if at > start and not self._remote.supports_ranges(path):
                    raise
            stop.wait(PAUSE_S)


class _ObjectIdentity:
    """Checks that all responses are of the same object."""

    def __init__(self, where: str, size: int | None = None) -> None:
        self.where = where
        self._expected = size
        self._lock = threading.Lock()
        self._seen: tuple[int, str | None] | None = None

    def check(self, stream: Stream) -> None:
        """Check that a response is of the same object as the first, and that it has the expected size."""
        if self._expected is not None and stream.size != self._expected:
            raise IntegrityError(f"{self.where}: expected {self._expected} bytes, found {stream.size}")
        with self._lock:
            self._seen = self._seen or (stream.size, stream.etag)
            if self._seen != (stream.size, stream.etag):
                raise IntegrityError(f"{self.where}: was replaced while it was read; pull again")
