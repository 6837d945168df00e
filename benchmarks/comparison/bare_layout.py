"""Layouts of the bare engine's work."""

from __future__ import annotations

from dataclasses import dataclass

_BATCHES = (1, 4, 8)


@dataclass(frozen=True)
class Layout:
    """Lanes and batch size."""

    lanes: int
    """Threads that each decode a batch and run it in a lane of the engine; 0: one batch at a time on all cores."""
    batch: int
    """Images."""

    @property
    def text(self) -> str:
        """Return a description."""
        lanes = f"{self.lanes} lanes" if self.lanes else "all cores together"
        return f"{lanes}, {self.batch} a batch"


def layouts(clients: int, lanes: int) -> list[Layout]:
    """Return the layouts for a number of clients with one image in flight each, and an engine of `lanes`."""
    wide = [Layout(0, batch) for batch in _BATCHES if batch <= clients]
    narrow = [Layout(lanes, batch) for batch in _BATCHES if lanes > 1 and batch * lanes <= clients]
    return wide + narrow
