"""The objectives of a load test, read from `objectives.toml`, and their verdicts."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .options import explain
from .scenarios import SCENARIOS
from .stats import RequestStats

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ObjectivesError(Exception):
    """The file of objectives cannot be used; the message is one line with the reason."""


class Objectives(BaseModel):
    """The limits of one scenario; those left out are not judged."""

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
        ObjectivesError: The file is missing or invalid.
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
    """Results of a span of time; latencies in ms, NaN without good responses."""

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
    """How much later than due requests were sent."""

    @classmethod
    def of(cls, entry: RequestStats, seconds: float) -> Measured:
        """Return the results of statistics over a number of seconds."""
        return cls(
            seconds=seconds,
            asked=entry.asked,
            good=entry.good,
            refused=entry.refused,
            failed=entry.failed,
            not_sent=entry.not_sent,
            images_per_second=entry.images_meanwhile / seconds if seconds else 0.0,
            p50_ms=entry.latency.percentile(0.5),
            p99_ms=entry.latency.percentile(0.99),
            lag_p99_ms=entry.lag.percentile(0.99),
        )

    @property
    def error_share(self) -> float:
        """Return the share of requests without a good response; 1 without requests."""
        return (self.asked - self.good) / self.asked if self.asked else 1.0

    @property
    def failed_share(self) -> float:
        """Return the share of requests that failed or were not sent; 1 without requests."""
        return (self.failed + self.not_sent) / self.asked if self.asked else 1.0


@dataclass(frozen=True)
class Verdict:
    """The verdict on one objective."""

    objective: str
    limit: float
    measured: float
    at_least: bool
    """Whether more is better."""

    @property
    def met(self) -> bool:
        """Return whether it was met; NaN, which could not be measured, was not."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def judge(objectives: Objectives, measured: Measured, drift: tuple[Measured, Measured] | None = None) -> list[Verdict]:
    """Return the verdict on each objective.

    Args:
        objectives: Of the scenario.
        measured: The results of all.
        drift: The results of the first part and of the last; without them drift is not judged.
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
