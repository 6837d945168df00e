"""How the bare engine's work is laid out."""

from __future__ import annotations

from dataclasses import dataclass

_BATCHES = (1, 4, 8)


@dataclass(frozen=True)
class Way:
    """One layout."""

    lanes: int
    """Threads that each decode a batch and run it in a lane of the engine; 0 runs one batch on all cores."""
    batch: int
    """Images."""

    @property
    def text(self) -> str:
        """Return it in words."""
        lanes = f"{self.lanes} lanes" if self.lanes else "all cores together"
        return f"{lanes}, {self.batch} a batch"


def ways(callers: int, lanes: int) -> list[Way]:
    """Return the layouts for so many callers, each of whom has one picture under way, and an engine of `lanes`."""
    wide = [Way(0, batch) for batch in _BATCHES if batch <= callers]
    narrow = [Way(lanes, batch) for batch in _BATCHES if lanes > 1 and batch * lanes <= callers]
    return wide + narrow
