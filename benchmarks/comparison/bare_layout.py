"""Layouts of the bare engine's work."""

from __future__ import annotations

from dataclasses import dataclass

_BATCHES = (1, 4, 8)


@dataclass(frozen=True)
class Layout:
    """Streams and batch size."""

    streams: int
    """Threads that each decode a batch and run it in a stream of the engine; 0: one batch at a time on all cores."""
    batch: int
    """Images."""

    @property
    def text(self) -> str:
        """Return a description."""
        streams = f"{self.streams} streams" if self.streams else "all cores together"
        return f"{streams}, {self.batch} a batch"


def layouts(clients: int, streams: int) -> list[Layout]:
    """Return the layouts for a number of clients with one image in flight each, and an engine of `streams`."""
    wide = [Layout(0, batch) for batch in _BATCHES if batch <= clients]
    narrow = [Layout(streams, batch) for batch in _BATCHES if streams > 1 and batch * streams <= clients]
    return wide + narrow
