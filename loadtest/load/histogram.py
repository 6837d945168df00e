"""A mergeable histogram of durations, for statistics of several processes."""

from __future__ import annotations

import math
from collections.abc import Mapping

_PER_E = 100.0
"""Buckets to a factor of e, so that each is 1 % wide."""


class Histogram:
    """Count durations in ms with a resolution of half a per cent."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, ms: float) -> None:
        """Count a duration; one below a microsecond counts as a microsecond."""
        bucket = math.floor(math.log(max(ms, 1e-3)) * _PER_E)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Add another histogram."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def percentile(self, share: float) -> float:
        """Return the percentile in ms, of a share from 0 to 1; NaN of an empty histogram."""
        wanted = math.ceil(share * len(self))
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return math.exp((bucket + 0.5) / _PER_E)
        return math.nan
