"""A loaded version of the model: what the batcher runs, and what is reported to the edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel
from service.batching.tuning import BatchProfile
from service.core.serving_state import ModelInfo, VersionBatching


@dataclass(eq=False)
class LoadedVersion:
    """A version in memory; the same number loaded again is another object."""

    model: VerifiedModel
    variant: Variant
    engine: Engine
    profile: BatchProfile
    """Its learned costs on this machine."""

    @property
    def number(self) -> int:
        """Return the number of the version in the store."""
        return self.model.version

    def run(self, pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        return self.engine.run(pixels, stream)

    def resembles(self, other: LoadedVersion) -> bool:
        """Return whether its batches cost as much as those of `other`: the same network, engine and input."""
        mine, its = self.model.manifest, other.model.manifest
        return (
            self.variant.name == other.variant.name
            and mine.architecture == its.architecture
            and (mine.input.height, mine.input.width) == (its.input.height, its.input.width)
        )

    def describe_batching(self) -> VersionBatching:
        """Return its learned batching, as reported by the API and the metrics."""
        profile = self.profile
        return VersionBatching(
            version=self.number,
            variant=self.variant.name,
            streams=profile.streams,
            batch_size=profile.batch_size,
            image_seconds=profile.stream_cost.per_image_s,
            fixed_seconds=profile.stream_cost.fixed_s,
            lone_image_seconds=profile.exclusive_cost.latency_s(1),
            images_per_second=profile.rates,
        )

    def describe(self, labels: tuple[str, ...]) -> ModelInfo:
        """Return what an edge needs to serve it."""
        manifest = self.model.manifest
        return ModelInfo(
            name=self.model.model,
            version=self.number,
            digest=self.model.digest,
            labels=labels,
            variant=self.variant.name,
            input=manifest.input,
            classes=manifest.classes,
            signatures=manifest.signatures,
        )
