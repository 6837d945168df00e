"""The process of `loadtest.bare`, and what it has to say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from types import TracebackType
from typing import Any, Self

from .bare_way import Way


@dataclass(frozen=True)
class Description:
    """What `loadtest.bare` loaded."""

    variant: str
    engine: str
    precision: str
    network: str
    height: int
    width: int
    classes: int
    threads: int
    lanes: int
    accuracy: float | None
    keras_accuracy: float | None
    examples: int | None
    pictures: list[str]
    """Encoded, in base64."""
    scores: list[list[float]]
    """Of each picture."""

    @property
    def loss(self) -> str:
        """Return in words what the variant loses against the Keras model."""
        if self.accuracy is None or self.keras_accuracy is None:
            return "was not measured when the version was packaged"
        points = 100 * (self.keras_accuracy - self.accuracy)
        shares = f"{self.accuracy:.2%} instead of {self.keras_accuracy:.2%} of {self.examples}"
        return f"{points:+.2f} points of top-1 ({shares})"


@dataclass(frozen=True)
class BareResult:
    """How fast a way was."""

    rate: float
    """Images a second."""
    batch_ms: float
    """Median time from encoded pictures to scores of a batch."""
    cpu_ms: float
    """CPU time an image."""

    @classmethod
    def middle(cls, results: Sequence[BareResult]) -> BareResult:
        """Return the means of several."""
        return cls(
            mean(one.rate for one in results),
            mean(one.batch_ms for one in results),
            mean(one.cpu_ms for one in results),
        )


class BareProcess:
    """Runs from entering the block to leaving it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "loadtest.bare", str(folder)]
        self._environment = environment

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.description = Description(**self._read())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, way: Way, seconds: float) -> BareResult:
        """Work in one way for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"way": asdict(way), "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return BareResult(**self._read())

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"loadtest.bare ended with {self._process.wait()}; what it wrote above says why")
        return json.loads(line)
