"""The process of the bare engine, and what it has to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from loadtest.batch_speed import BatchSpeed
from loadtest.json_lines import JsonLinesProcess

from .bare_way import Way


@dataclass(frozen=True)
class Description:
    """What the process loaded."""

    variant: str
    engine: str
    precision: str
    network: str
    height: int
    width: int
    classes: int
    threads: int
    streams: int
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


class BareProcess(JsonLinesProcess):
    """Runs `bare.py`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__("the bare engine", "loadtest.comparison.bare", folder, environment=environment)

    @cached_property
    def description(self) -> Description:
        """Return what it loaded."""
        return Description(**self.first)

    def run(self, way: Way, seconds: float) -> BatchSpeed:
        """Decode and run pictures in one way for so long; a batch counts from encoded pictures to scores."""
        return BatchSpeed(**self.ask({"way": asdict(way), "seconds": seconds}))
