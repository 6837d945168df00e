"""The learned profile of an engine on this machine: what a batch costs, and the batch size to use.

Warm-up measures it, and live batches update it: other processes on the same cores, the clock rate and container limits
change it at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_DECAY = 0.98
"""Weight of the past at each new batch: about the last 50 batches count."""

_MIN_SPREAD = 0.05
"""Relative variance of the sizes below which a slope cannot be distinguished from noise."""

SUFFICIENT_SHARE = 0.95
"""Share of the best throughput that a smaller batch must reach to be preferred, since it has the lower latency."""

_RATE_SMOOTHING = 0.1
"""Weight of the newest batch in the rates of all sizes."""

_PROBE_SMOOTHING = 0.7
"""Weight of a probe in the rate of its size."""

_PROBE_EVERY = 256
"""Batches between two probes, which have half or twice the learned size, to detect a change."""


class CostModel:
    """A line fitted by least squares in which older batches count less.

    While all batches have about the same size, a slope cannot be learned; then the line is scaled to the measured mean,
    and keeps the ratio of its two parts.
    """

    def __init__(self) -> None:
        self.per_image_s = 0.0
        self.fixed_s = 0.0
        self._weight = self._n = self._nn = self._t = self._nt = 0.0

    def observe(self, images: int, seconds: float) -> None:
        """Update the line with one batch that took `seconds`."""
        self._weight = self._weight * _DECAY + 1
        self._n = self._n * _DECAY + images
        self._nn = self._nn * _DECAY + images * images
        self._t = self._t * _DECAY + seconds
        self._nt = self._nt * _DECAY + images * seconds
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        variance = self._nn / self._weight - mean_n**2
        if variance > _MIN_SPREAD * mean_n**2:
            slope = (self._nt / self._weight - mean_n * mean_t) / variance
            self.per_image_s = min(max(slope, 0.0), mean_t / mean_n)
            self.fixed_s = max(0.0, mean_t - self.per_image_s * mean_n)  # Rounding may make it negative.
        elif (predicted := self.latency_s(mean_n)) > 0:
            self.per_image_s *= mean_t / predicted
            self.fixed_s *= mean_t / predicted
        else:
            self.per_image_s = mean_t / mean_n

    def latency_s(self, images: float) -> float:
        """Return the seconds that a batch of so many images takes."""
        return self.per_image_s * images + self.fixed_s

    def work_s(self, images: int, batch_size: int) -> float:
        """Return the seconds that so many images take in batches of at most `batch_size`."""
        return self.per_image_s * images + self.fixed_s * math.ceil(images / batch_size)


@dataclass
class BatchProfile:
    """The costs of one engine, and the batch size derived from them."""

    streams: int = 1
    """Batches run in parallel under load; 1 if one after the other on all cores is as fast."""
    batch_size: int = 1
    """The batch size to use: the smallest that reaches 95 % of the best throughput."""
    stream_cost: CostModel = field(default_factory=CostModel)
    """Cost of a batch in a stream."""
    exclusive_cost: CostModel = field(default_factory=CostModel)
    """Cost of a batch that has all cores; the same object if there is only one stream."""
    rates: dict[int, float] = field(default_factory=dict)
    """Images per second in one stream, by batch size, a power of two; only sizes measured at warm-up."""
    batches: int = 0
    """Batches observed since the last probe."""
    probe: int = 0
    """Size of the current probe; 0 if there is none."""
    last_probe: int = 0
    """Size of the last probe."""

    def __post_init__(self) -> None:
        """Share one cost model if there is one stream."""
        if self.streams == 1:
            self.exclusive_cost = self.stream_cost

    def record_measurement(self, size: int, seconds: float) -> None:
        """Record a measurement of warm-up: the seconds that one batch of a size took."""
        self.rates[size] = size / seconds
        self._choose_batch_size()

    def observe(self, images: int, seconds: float, *, exclusive: bool) -> None:
        """Update the profile with a live batch, run on all cores (`exclusive`) or in a stream."""
        (self.exclusive_cost if exclusive else self.stream_cost).observe(images, seconds)
        self.batches += 1
        size = 1 << (images.bit_length() - 1)
        if size not in self.rates or seconds <= 0 or (exclusive and self.streams > 1):
            return
        change = images / seconds / self.rates[size] - 1
        if images == self.probe != self.batch_size:
            self.rates[size] *= 1 + _PROBE_SMOOTHING * change
            self.probe = 0
        else:  # What slows this size slows the others, too; only probes compare sizes.
            self.rates = {size: rate * (1 + _RATE_SMOOTHING * change) for size, rate in self.rates.items()}
        self._choose_batch_size()

    def next_batch_size(self, queued: int) -> int:
        """Return the maximum size of the next batch while so many images are queued.

        Periodically, if enough are queued, it is a probe of twice or half the learned size, alternately.
        """
        if self.batches < _PROBE_EVERY or queued < 2 * self.batch_size * self.streams:
            return self.batch_size
        smaller, larger = self.batch_size // 2, 2 * self.batch_size
        self.batches, self.last_probe = 0, smaller if self.last_probe == larger and smaller in self.rates else larger
        self.probe = self.last_probe if self.last_probe in self.rates else 0
        return self.probe or self.batch_size

    def work_s(self, images: int) -> float:
        """Return the seconds that so many images take on all streams."""
        return self.stream_cost.work_s(images, self.batch_size) / self.streams

    def latency_s(self, images: int) -> float:
        """Return the seconds that the images of one request take if the queue is empty."""
        if images == 1:
            return self.exclusive_cost.latency_s(1)
        per_stream = min(math.ceil(images / self.streams), self.batch_size)
        return max(self.work_s(images), self.stream_cost.latency_s(per_stream))

    def _choose_batch_size(self) -> None:
        best = max(self.rates.values())
        self.batch_size = min(size for size, rate in self.rates.items() if rate >= SUFFICIENT_SHARE * best)
