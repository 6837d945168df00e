"""Progress of transfers: bars on a terminal, one line each in a log, nothing for JSON output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

Advance = Callable[[int], None]
"""Takes the number of bytes done since the last call; thread-safe."""


class Progress(Protocol):
    """Shows the progress of transfers, one after the other."""

    def task(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a transfer of `total` bytes, shown as `what`."""


class Silent:
    """Shows no progress."""

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:  # noqa: ARG002 -- the protocol's names
        """Begin a transfer."""
        yield lambda _: None


class Lines:
    """Writes one plain line when a transfer is done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """Begin a transfer; a failed one writes no line."""
        start = time.monotonic()
        yield lambda _: None
        seconds = time.monotonic() - start
        print(f"{what}: {human_size(total)} in {seconds:.1f} s", file=self._stream, flush=True)


class Bars:
    """Draws a bar on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """Begin a transfer."""
        from tqdm import tqdm

        lock = threading.Lock()
        with tqdm(total=total, desc=what, unit="B", unit_scale=True, unit_divisor=1024, file=self._stream) as bar:

            def advance(size: int) -> None:
                with lock:
                    bar.update(size)

            yield advance


def progress_on(stream: TextIO, *, quiet: bool) -> Progress:
    """Return the progress for a stream: bars on a terminal, lines elsewhere, none if `quiet`."""
    if quiet:
        return Silent()
    return Bars(stream) if stream.isatty() else Lines(stream)


def human_size(size: int) -> str:
    """Return a number of bytes with its unit, as in `21.4 MiB`."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"
