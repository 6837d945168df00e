"""The objectives that a load test is judged by: `objectives.toml`, and the verdict."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .options import explain
from .scenarios import SCENARIOS
from .stats import Tally

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ObjectivesError(Exception):
    """The file of objectives cannot be used; the message is one line that says why."""


class Objectives(BaseModel):
    """What one scenario must reach; what is left out is not judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_images_per_second: Positive | None = None
    max_p50_ms: Positive | None = None
    max_p99_ms: Positive | None = None
    max_error_share: Share | None = None
    max_failed_share: Share | None = None
    max_p50_drift: Positive | None = None
    max_p99_drift: Positive | None = None


def read_objectives(path: Path) -> dict[str, Objectives]:
    """Return the objectives of each scenario that has some.

    Raises:
        ObjectivesError: The file is not there, or not what it should be.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ObjectivesError(f"{path}: {reason}") from None
    objectives = {}
    for scenario, table in document.items():
        if scenario not in SCENARIOS:
            raise ObjectivesError(f"{path}: [{scenario}] is no scenario; there are {', '.join(SCENARIOS)}")
        if not isinstance(table, dict) or (unknown := sorted(set(table) - set(Objectives.model_fields))):
            what = f"{unknown[0]} is" if isinstance(table, dict) else "has"
            there = ", ".join(Objectives.model_fields)
            raise ObjectivesError(f"{path}: [{scenario}] {what} no objective; there are {there}")
        try:
            objectives[scenario] = Objectives.model_validate(table)
        except ValidationError as error:
            raise ObjectivesError(f"{path}: [{scenario}] {explain(error)}") from None
    return objectives


@dataclass(frozen=True)
class Measured:
    """What was seen in some time; latencies in ms, NaN where there were no good answers."""

    seconds: float
    asked: int
    good: int
    refused: int
    failed: int
    not_sent: int
    images_per_second: float
    p50_ms: float
    p99_ms: float
    lag_p99_ms: float
    """How much later than due requests left."""

    @classmethod
    def of(cls, tally: Tally, seconds: float) -> Measured:
        """Return what a tally of so many seconds comes to."""
        return cls(
            seconds=seconds,
            asked=tally.asked,
            good=tally.good,
            refused=tally.refused,
            failed=tally.failed,
            not_sent=tally.not_sent,
            images_per_second=tally.images_meanwhile / seconds if seconds else 0.0,
            p50_ms=tally.latency.percentile(0.5),
            p99_ms=tally.latency.percentile(0.99),
            lag_p99_ms=tally.lag.percentile(0.99),
        )

    @property
    def error_share(self) -> float:
        """Return the share of requests that got no good answer; all of none."""
        return (self.asked - self.good) / self.asked if self.asked else 1.0

    @property
    def failed_share(self) -> float:
        """Return the share of requests that failed or were not sent; all of none."""
        return (self.failed + self.not_sent) / self.asked if self.asked else 1.0


@dataclass(frozen=True)
class Verdict:
    """How one objective was met."""

    objective: str
    limit: float
    measured: float
    at_least: bool
    """Whether more is better."""

    @property
    def met(self) -> bool:
        """Tell whether it was; what could not be measured, NaN, was not."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def judge(objectives: Objectives, measured: Measured, drift: tuple[Measured, Measured] | None = None) -> list[Verdict]:
    """Return how each objective was met.

    Args:
        objectives: Of the scenario.
        measured: What was seen in all.
        drift: The first part of it and the last; without them drift is not judged.
    """
    verdicts = [
        Verdict("images a second", objectives.min_images_per_second, measured.images_per_second, True)
        if objectives.min_images_per_second is not None
        else None,
        _most("p50, ms", objectives.max_p50_ms, measured.p50_ms),
        _most("p99, ms", objectives.max_p99_ms, measured.p99_ms),
        _most("share of errors", objectives.max_error_share, measured.error_share),
        _most("share of failures", objectives.max_failed_share, measured.failed_share),
    ]
    if drift is not None:
        first, last = drift
        verdicts.append(_most("p50, last ÷ first part", objectives.max_p50_drift, last.p50_ms / first.p50_ms))
        verdicts.append(_most("p99, last ÷ first part", objectives.max_p99_drift, last.p99_ms / first.p99_ms))
    return [verdict for verdict in verdicts if verdict is not None]


def _most(objective: str, limit: float | None, measured: float) -> Verdict | None:
    return Verdict(objective, limit, measured, False) if limit is not None else None
