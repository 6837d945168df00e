"""The search for the highest rate that still meets the objectives."""

from __future__ import annotations

import math


class RampSearch:
    """Step up until a rate is missed, then halve the gap between the highest met and the lowest missed.

    A rate counts as missed when it was missed `tries` times in a row, so that one hiccup of the machine does not end
    the search. No rate is higher than `factor` times one that was met, or than the first one.
    """

    def __init__(self, start: float, factor: float = 1.5, precision: float = 0.05, tries: int = 2) -> None:
        """Start the search.

        Args:
            start: The first rate, in requests a second; when that is missed the search steps down.
            factor: Of each step up or down.
            precision: The search is over when no more than this share lies between met and missed.
            tries: How often a rate must be missed.
        """
        self.rate: float | None = start
        """The rate to try now; None once the search is over."""
        self.found = 0.0
        """The highest rate that met the objectives; 0 when none did."""
        self._factor = factor
        self._precision = precision
        self._tries = tries
        self._floor = start / 10
        self._missed = math.inf
        self._misses = 0

    def record(self, met: bool) -> None:
        """Record whether `rate` met the objectives, and choose the next rate."""
        if self.rate is None:
            raise ValueError("the search is over")
        if met:
            self.found = self.rate
        else:
            self._misses += 1
            if self._misses < self._tries:
                return
            self._missed = self.rate
        self._misses = 0
        self.rate = self._next()

    def _next(self) -> float | None:
        if math.isinf(self._missed):
            return self.found * self._factor
        if not self.found:
            lower = self._missed / self._factor
            return lower if lower >= self._floor else None
        if self._missed <= self.found * (1 + self._precision):
            return None
        return math.sqrt(self.found * self._missed)
