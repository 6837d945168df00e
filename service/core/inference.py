"""The result of a request, with the durations of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.result import Result
from service.core.serving_state import ModelInfo


@dataclass(frozen=True)
class Inference:
    """The scores of a request, and how they came about."""

    model: ModelInfo
    """The one version that gave all of them."""
    result: Result
    decode_s: float
    began: float
    """When decoding did, by `time.perf_counter`."""
    ended: float
    """When the scores were there."""
