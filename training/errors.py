"""What can go wrong before there is a model.

TrainingError
├── DataError     the pictures, or their labels, cannot be used
├── RunError      a run's folder does not hold what is asked of it
├── WeightsError  weights or a model that cannot be had, or do not fit
└── ExportError   the packaged model does not give the answers of the trained one
"""

from __future__ import annotations

from typing import ClassVar


class TrainingError(Exception):
    """Something that was to be expected went wrong; the message says what to do about it."""

    exit_code: ClassVar[int] = 1


class DataError(TrainingError):
    """The pictures, or their labels, cannot be used."""

    exit_code = 2


class RunError(TrainingError):
    """A run's folder does not hold what is asked of it."""

    exit_code = 2


class WeightsError(TrainingError):
    """Weights, or a model, cannot be had or do not fit."""


class ExportError(TrainingError):
    """The packaged model does not give the answers of the trained one."""
