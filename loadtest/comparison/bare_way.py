"""How the bare engine's work is laid out."""

from __future__ import annotations

from dataclasses import dataclass

_BATCHES = (1, 4, 8)


@dataclass(frozen=True)
class Way:
    """One layout."""

    streams: int
    """Threads that each decode a batch and run it in a lane of the engine; 0 runs one batch on all cores."""
    batch: int
    """Images."""

    @property
    def text(self) -> str:
        """Return it in words."""
        streams = f"{self.streams} lanes" if self.streams else "all cores together"
        return f"{streams}, {self.batch} a batch"


def ways(callers: int, streams: int) -> list[Way]:
    """Return the layouts for so many callers, each of whom has one picture under way, and an engine of `lanes`."""
    wide = [Way(0, batch) for batch in _BATCHES if batch <= callers]
    narrow = [Way(streams, batch) for batch in _BATCHES if streams > 1 and batch * streams <= callers]
    return wide + narrow
