"""The process of the bare engine and its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.measuring.batch_speed import BatchSpeed
from benchmarks.measuring.json_lines import JsonLinesProcess

from .bare_layout import Layout


@dataclass(frozen=True)
class Description:
    """The model that the process loaded."""

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
    scores: list[list[float]]
    """Of each image."""

    @property
    def loss(self) -> str:
        """Return a description of the accuracy that the variant loses against the Keras model."""
        if self.accuracy is None or self.keras_accuracy is None:
            return "was not measured when the version was packaged"
        points = 100 * (self.keras_accuracy - self.accuracy)
        shares = f"{self.accuracy:.2%} instead of {self.keras_accuracy:.2%} of {self.examples}"
        return f"{points:+.2f} points of top-1 ({shares})"


class BareEngineProcess(JsonLinesProcess):
    """Run `bare.py`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__("the bare engine", "benchmarks.comparison.bare", folder, environment=environment)

    @cached_property
    def description(self) -> Description:
        """Return the description of the model."""
        return Description(**self.first)

    def run(self, layout: Layout, seconds: float) -> BatchSpeed:
        """Decode and run images in one layout for a time; a batch counts from encoded images to scores."""
        return BatchSpeed(**self.call({"layout": asdict(layout), "seconds": seconds}))
