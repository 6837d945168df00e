"""The result of a request, with the durations of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.result import Result
from service.core.serving_state import ModelInfo


@dataclass(frozen=True)
class Inference:
    """The scores of a request, with version and durations."""

    model: ModelInfo
    """The version of all scores."""
    result: Result
    decode_s: float
    started_at: float
    """Start of decoding, by `time.perf_counter`."""
    ended_at: float
    """Arrival of the scores, by the same clock."""
