"""Errors of training and packaging.

TrainingError
├── DataError     images or labels cannot be used
├── RunError      a run or output folder is missing, unfinished, or does not match the command
├── WeightsError  weights or a model are not available, unreadable, or do not fit
└── ExportError   the packaged model differs from the trained one
"""

from __future__ import annotations

from typing import ClassVar


class TrainingError(Exception):
    """Base class of expected errors; the message says what to do."""

    exit_code: ClassVar[int] = 1


class DataError(TrainingError):
    """Images or labels cannot be used."""

    exit_code = 2


class RunError(TrainingError):
    """A run or output folder is missing, unfinished, or does not match the command."""

    exit_code = 2


class WeightsError(TrainingError):
    """Weights or a model are not available, unreadable, or do not fit."""


class ExportError(TrainingError):
    """The packaged model differs from the trained one."""
