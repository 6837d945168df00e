"""Run `python -m training` with a small network: as a process, or in this process, which has imported Keras already."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from training.__main__ import main

EPOCHS = 3


def train_arguments(data: Path, output: Path, *more: str) -> list[str]:
    settings = ["--epochs", str(EPOCHS), "--batch-size", "8", "--seed", "3", "--held-out", "0.25", "--no-flip"]
    return ["train", "--data", str(data), "--output", str(output), *settings, *more]


def command(data: Path, output: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tests.training.small_network", *train_arguments(data, output, *more)]


@dataclass(frozen=True)
class Done:
    """Exit status and output of a command."""

    returncode: int | str | None
    stdout: str
    stderr: str


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """Run a command in this process; exceptions that it does not catch fail the test."""
    code: int | str | None
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    output = capsys.readouterr()
    return Done(code, output.out, output.err)
