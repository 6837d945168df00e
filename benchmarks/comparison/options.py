"""What `python -m benchmarks compare` can be told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .competitors.lineup import line_up


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    model: str
    version: str
    store: str | None
    precision: str
    clients: tuple[int, ...]
    rounds: int
    seconds: float
    trial_s: float
    only: tuple[str, ...]
    quiet_only: bool
    output: Path

    @classmethod
    def parse(cls, arguments: Sequence[str], description: str | None) -> Options:
        """Read the arguments of the command; ends the process with one line where they are not right."""
        names = [one.name for one in line_up(2)]
        parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=description)
        parser.add_argument("--model", default="xception", help="a published model (xception)")
        parser.add_argument("--version", default="stable", help="a label or number (stable)")
        parser.add_argument("--store", metavar="URL", help="where it is published ($MODEL_STORE_URL, or .local/store)")
        parser.add_argument(
            "--precision", choices=("auto", "fp32", "bf16", "int8"), default="auto", help="of the engine (auto)"
        )
        parser.add_argument("--clients", default="1,8,32", help="numbers of clients (1,8,32)")
        parser.add_argument("--rounds", type=int, default=5, help="rounds; the contestants alternate in each (5)")
        parser.add_argument("--seconds", type=float, default=6, help="seconds of load a window (6)")
        parser.add_argument("--trial-seconds", type=float, default=2, help="seconds in which settings are tried (2)")
        parser.add_argument("--only", metavar="NAMES", default=",".join(names), help=f"some of {','.join(names)} (all)")
        parser.add_argument("--quiet-only", action="store_true", help="leave out windows in which others were at work")
        parser.add_argument("--output", type=Path, default=Path(".local/compare"), help="for results (.local/compare)")
        given = parser.parse_args(arguments)
        if unknown := sorted(set(given.only.split(",")) - set(names)):
            parser.error(f"--only: {unknown[0]!r} is none of {', '.join(names)}")
        numbers = given.clients.split(",")
        if not all(number.isdigit() and 1 <= int(number) <= 1024 for number in numbers):
            parser.error(f"--clients: {given.clients!r} is no list of numbers from 1 to 1024")
        if given.rounds < 1 or given.seconds <= 0 or given.trial_seconds <= 0:
            parser.error("--rounds, --seconds, --trial-seconds: must be more than 0")
        return cls(
            given.model,
            given.version,
            given.store,
            given.precision,
            tuple(sorted({int(number) for number in numbers})),
            given.rounds,
            given.seconds,
            given.trial_seconds,
            tuple(given.only.split(",")),
            given.quiet_only,
            given.output.resolve(),
        )
