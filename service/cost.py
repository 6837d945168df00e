"""What a batch costs: `latency(n) = per_image_s · n + fixed_s`, learned from the batches themselves."""

from __future__ import annotations

import math

_FORGET = 0.98
"""Weight of the past at each new batch: about the last 50 batches count."""

_MIN_SPREAD = 0.05
"""Relative variance of the sizes below which a slope cannot be told from noise."""


class CostModel:
    """A line fitted by least squares in which older batches count less.

    While all batches have about the same size, a slope cannot be learned; then the line is scaled so that it
    passes through what is measured, and keeps the proportion of its two parts.
    """

    def __init__(self) -> None:
        self.per_image_s = 0.0
        self.fixed_s = 0.0
        self._weight = self._n = self._nn = self._t = self._nt = 0.0

    @property
    def known(self) -> bool:
        """Tell whether any batch was seen."""
        return self._weight > 0

    def observe(self, images: int, seconds: float) -> None:
        """Learn from one batch that took `seconds`."""
        self._weight = self._weight * _FORGET + 1
        self._n = self._n * _FORGET + images
        self._nn = self._nn * _FORGET + images * images
        self._t = self._t * _FORGET + seconds
        self._nt = self._nt * _FORGET + images * seconds
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        variance = self._nn / self._weight - mean_n**2
        if variance > _MIN_SPREAD * mean_n**2:
            slope = (self._nt / self._weight - mean_n * mean_t) / variance
            self.per_image_s = min(max(slope, 0.0), mean_t / mean_n)
            self.fixed_s = max(0.0, mean_t - self.per_image_s * mean_n)  # Rounding may take it just below.
        elif (predicted := self.latency_s(mean_n)) > 0:
            self.per_image_s *= mean_t / predicted
            self.fixed_s *= mean_t / predicted
        else:
            self.per_image_s = mean_t / mean_n

    def latency_s(self, images: float) -> float:
        """Return how long a batch of so many images takes, in seconds."""
        return self.per_image_s * images + self.fixed_s

    def work_s(self, images: int, batch_size: int) -> float:
        """Return how long so many images take in batches of at most `batch_size`, in seconds."""
        return self.per_image_s * images + self.fixed_s * math.ceil(images / batch_size)
