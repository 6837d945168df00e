"""A histogram of durations that can be added to another one, as those of several processes must be."""

from __future__ import annotations

import math
from collections.abc import Mapping

_PER_E = 100.0
"""Buckets to a factor of e, so that each is 1 % wide."""


class Histogram:
    """Counts durations in ms, each to within half a per cent."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, ms: float) -> None:
        """Count one; what is shorter than a microsecond counts as one."""
        bucket = math.floor(math.log(max(ms, 1e-3)) * _PER_E)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Add what another one has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def percentile(self, share: float) -> float:
        """Return the duration in ms that this share of all is no longer than; NaN where nothing was counted."""
        wanted = math.ceil(share * len(self))
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return math.exp((bucket + 0.5) / _PER_E)
        return math.nan
