"""The bytes of large objects, read in several ranges at a time and handed on in order.

One connection carries only so much over a long way, so a large object is asked for in ranges, a window of them at
once. They are handed on in the order of the object, so that whoever hashes and writes them does so from the front.
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
"""Of a file of 90 MB larger ranges leave connections idle at its end; smaller ones wait for answers more often."""

WINDOW = 8
"""Ranges in flight or waiting for their turn, of all files of a transfer together; bounds its memory."""

PAUSE_S = 0.5
"""Between two attempts to go on after a connection broke; each of them is several for the library."""

_SLOT_POLL_S = 0.1
"""How often a file that waits for the others looks whether all should stop."""

_Blocks = list[bytes]


class Transfer:
    """Reads several objects of a store at once. Use it as a context manager; threads may share it."""

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

        A connection that breaks is taken up again where it broke, until nothing came for the store's patience.

        Args:
            path: The object.
            size: How many bytes it should have; not all that are there are read if there are more.
            start: The first byte that is wanted; not 0 only where the store gives parts.
            stop: Ends the transfer early.

        Raises:
            IntegrityError: The object has another size, or was replaced on the way; small ones are not judged.
            StoreError: The store refused, or could not be reached.
        """
        if self._remote.is_local:
            # A folder has no line that breaks, and reading it is never what takes the time.
            yield from self._remote.stream(path, start) if start else self._remote.stream(path)
        elif size - start <= RANGE_BYTES or not (start or self._remote.gives_parts(path)):
            yield from self._steady(path, start, None, _Identity(f"{self._remote.url}/{path}"), stop)
        else:
            yield from self._in_ranges(path, size, start, stop)

    def _in_ranges(self, path: str, size: int, start: int, stop: Stop) -> Iterator[bytes]:
        starts = iter(range(start, size, RANGE_BYTES))
        following = next(starts, None)
        identity = _Identity(f"{self._remote.url}/{path}", size)
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
        """Take a place in the window; `must` waits for one, as only a file that holds none may without a deadlock."""
        if not must:
            return self._slots.acquire(blocking=False)
        while not self._slots.acquire(timeout=_SLOT_POLL_S):
            stop.check()
        return True

    def _range(self, path: str, start: int, end: int, identity: _Identity, stop: Stop) -> _Blocks:
        blocks = []
        for block in self._steady(path, start, end, identity, stop):
            stop.check()
            blocks.append(block)
        if (found := sum(map(len, blocks))) != end - start:
            raise IntegrityError(f"{identity.where}: the store sent {found} bytes of the {end - start} from {start}")
        return blocks

    def _steady(self, path: str, start: int, end: int | None, identity: _Identity, stop: Stop) -> Iterator[bytes]:
        """Yield the bytes of a part of an object, and go on where a connection broke."""
        at, heard = start, time.monotonic()
        while True:
            try:
                stream = self._remote.stream(path, at, end)
                identity.check(stream)
                for block in stream:
                    yield block
                    at, heard = at + len(block), time.monotonic()
                return
            except UnavailableError:
                stop.check()
                if time.monotonic() - heard > self._remote.patience_s:
                    raise
                if at > start and not self._remote.gives_parts(path):
                    raise
            stop.wait(PAUSE_S)


class _Identity:
    """Sees to it that all answers are of the same object."""

    def __init__(self, where: str, size: int | None = None) -> None:
        self.where = where
        self._promised = size
        self._lock = threading.Lock()
        self._seen: tuple[int, str | None] | None = None

    def check(self, stream: Stream) -> None:
        """Refuse an answer that is of another object than the first, or of one of another size than promised."""
        if self._promised is not None and stream.size != self._promised:
            raise IntegrityError(f"{self.where}: expected {self._promised} bytes, found {stream.size}")
        with self._lock:
            self._seen = self._seen or (stream.size, stream.etag)
            if self._seen != (stream.size, stream.etag):
                raise IntegrityError(f"{self.where}: was replaced while it was read; pull again")
