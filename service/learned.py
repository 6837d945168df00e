"""What is known of an engine on this machine: what a batch costs, and how large a batch pays.

Warm-up measures it, and live batches keep it true: a neighbour on the same cores, a lower clock or another container
limit change it at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .cost import CostModel

WORTH = 0.95
"""Share of the best throughput that a smaller batch must reach to be preferred: it makes nobody wait for others."""

_LEARN = 0.1
"""Weight of the newest batch in what is known of the speed of this machine, at whatever size."""

_LEARN_PROBE = 0.7
"""Weight of a probe in how its size compares with the others."""

_PROBE_EVERY = 256
"""Batches between two that are half or twice as large as pays by what is known, to see whether that has changed."""


@dataclass
class Learned:
    """The costs of one engine, and the batch size that follows from them."""

    lanes: int = 1
    """Batches that run side by side under load; 1 where one after the other on all cores is as fast."""
    batch_size: int = 1
    """The largest batch that pays: the smallest size that reaches 95 % of the best throughput."""
    cost: CostModel = field(default_factory=CostModel)
    """What a batch costs in a lane."""
    alone: CostModel = field(default_factory=CostModel)
    """What a batch costs that has all cores; the same object where there is only one lane."""
    rates: dict[int, float] = field(default_factory=dict)
    """Images a second in one lane, by batch size, a power of two; only sizes that were measured at warm-up."""
    batches: int = 0
    """Batches seen since the last probe."""
    probe: int = 0
    """The size of the probe that is under way; 0 where none is."""
    last_probe: int = 0
    """The size of the last one."""

    def __post_init__(self) -> None:
        """Know one cost where there is one way to run."""
        if self.lanes == 1:
            self.alone = self.cost

    def measured(self, size: int, seconds: float) -> None:
        """Take in what warm-up measured of a size: how long one batch took, in seconds."""
        self.rates[size] = size / seconds
        self._choose()

    def observe(self, images: int, seconds: float, *, alone: bool) -> None:
        """Learn from a live batch, run alone on all cores or in a lane."""
        (self.alone if alone else self.cost).observe(images, seconds)
        self.batches += 1
        size = 1 << (images.bit_length() - 1)
        if size not in self.rates or seconds <= 0 or (alone and self.lanes > 1):
            return
        change = images / seconds / self.rates[size] - 1
        if images == self.probe != self.batch_size:
            self.rates[size] *= 1 + _LEARN_PROBE * change
            self.probe = 0
        else:  # Whatever slows this size slows the others, too; how they compare is for probes to find out.
            self.rates = {size: rate * (1 + _LEARN * change) for size, rate in self.rates.items()}
        self._choose()

    def room(self, waiting: int) -> int:
        """Return how many images the next batch may hold while so many wait.

        Every now and then, if so many wait, that is twice what pays as far as is known, or half of it in turn: what
        has come to pay is not noticed otherwise.
        """
        if self.batches < _PROBE_EVERY or waiting < 2 * self.batch_size * self.lanes:
            return self.batch_size
        smaller, larger = self.batch_size // 2, 2 * self.batch_size
        self.batches, self.last_probe = 0, smaller if self.last_probe == larger and smaller in self.rates else larger
        self.probe = self.last_probe if self.last_probe in self.rates else 0
        return self.probe or self.batch_size

    def work_s(self, images: int) -> float:
        """Return how long so many images take on all lanes, in seconds."""
        return self.cost.work_s(images, self.batch_size) / self.lanes

    def own_s(self, images: int) -> float:
        """Return how long the images of one request take where nothing else waits, in seconds."""
        if images == 1:
            return self.alone.latency_s(1)
        in_a_lane = min(math.ceil(images / self.lanes), self.batch_size)
        return max(self.work_s(images), self.cost.latency_s(in_a_lane))

    def _choose(self) -> None:
        best = max(self.rates.values())
        self.batch_size = min(size for size, rate in self.rates.items() if rate >= WORTH * best)
