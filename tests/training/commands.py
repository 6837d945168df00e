"""`python -m training` with a small network: as a process, or in this one, where Keras is imported already."""

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
    """What a command said, and its exit status."""

    returncode: int | str | None
    stdout: str
    stderr: str


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """Run a command in this process; what it does not catch fails the test."""
    code: int | str | None
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse ends so.
        code = end.code
    said = capsys.readouterr()
    return Done(code, said.out, said.err)
