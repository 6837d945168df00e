"""What the runner answered to a request, with the times of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from .entry import Result
from .state import ServedModel


@dataclass(frozen=True)
class Inference:
    """The scores of a request, and how they came about."""

    model: ServedModel
    """The one version that gave all of them."""
    result: Result
    decode_s: float
    began: float
    """When decoding did, by `time.perf_counter`."""
    ended: float
    """When the scores were there."""
