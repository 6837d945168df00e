"""A version of the model that is loaded: what the batcher runs, and what the edge is told of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel

from .engine import Engine
from .learned import Learned
from .state import ServedModel, VersionBatching


@dataclass(eq=False)
class ServedVersion:
    """A version in memory; the same number loaded anew is another one."""

    model: VerifiedModel
    variant: Variant
    engine: Engine
    learned: Learned
    """What is known of its costs on this machine."""

    @property
    def version(self) -> int:
        """Return its number."""
        return self.model.version

    def run(self, pixels: NDArray[np.uint8], lane: int | None) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        return self.engine.run(pixels, lane)

    def resembles(self, other: ServedVersion) -> bool:
        """Tell whether a batch costs as much as one of `other`: the same network, engine and input."""
        mine, its = self.model.manifest, other.model.manifest
        return (
            self.variant.name == other.variant.name
            and mine.architecture == its.architecture
            and (mine.input.height, mine.input.width) == (its.input.height, its.input.width)
        )

    def describe_batching(self) -> VersionBatching:
        """Return what has been learned of its batches."""
        learned = self.learned
        return VersionBatching(
            version=self.version,
            variant=self.variant.name,
            lanes=learned.lanes,
            batch_size=learned.batch_size,
            image_seconds=learned.cost.per_image_s,
            fixed_seconds=learned.cost.fixed_s,
            lone_image_seconds=learned.alone.latency_s(1),
            images_per_second=learned.rates,
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
