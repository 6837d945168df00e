"""A version of the model that is loaded: what the batcher runs, and what the edge is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import Variant
from model_store.verify import VerifiedModel

from .cost import CostModel
from .engine import Engine
from .state import ServedModel


@dataclass(eq=False)
class ServedVersion:
    """A version in memory; the same number loaded anew is another one."""

    model: VerifiedModel
    variant: Variant
    engine: Engine
    batch_size: int
    """The largest batch that pays."""
    cost: CostModel = field(default_factory=CostModel)

    @property
    def version(self) -> int:
        """Return its number."""
        return self.model.version

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        return self.engine.run(pixels)

    def resembles(self, other: ServedVersion) -> bool:
        """Tell whether a batch costs as much as one of `other`: the same network, engine and input."""
        mine, its = self.model.manifest, other.model.manifest
        return (
            self.variant.name == other.variant.name
            and mine.architecture == its.architecture
            and (mine.input.height, mine.input.width) == (its.input.height, its.input.width)
        )

    def describe(self, labels: tuple[str, ...]) -> ServedModel:
        """Return what an edge needs to know of it."""
        manifest = self.model.manifest
        return ServedModel(
            name=self.model.model,
            version=self.version,
            digest=self.model.digest,
            labels=labels,
            variant=self.variant.name,
            input=manifest.input,
            classes=manifest.classes,
            signatures=manifest.signatures,
        )
