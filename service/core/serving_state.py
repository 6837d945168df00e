"""What the runner says of itself: the versions it knows, and those that answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from model_store.trust.manifest import InputContract, Signature
from service.core.errors import ModelNotFoundError, NotReadyError


class VersionState(StrEnum):
    """Where a version is in its life."""

    PULLING = "pulling"
    LOADING = "loading"
    WARMING = "warming"
    CHECKING = "checking"
    AVAILABLE = "available"
    DRAINING = "draining"
    UNLOADED = "unloaded"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelSpec:
    """What a request asks for: a model, and perhaps one version of it, by number or by label."""

    model: str
    version: int | None = None
    label: str | None = None


class VersionStatus(BaseModel):
    """What is known of a version, for those who ask."""

    version: int
    digest: str
    """Of its manifest."""
    labels: tuple[str, ...] = ()
    """The labels that lead to it now."""
    state: VersionState = VersionState.PULLING
    error_code: str = "OK"
    """The canonical name of a gRPC status, as TensorFlow Serving gives it."""
    error_message: str = ""


class ModelInfo(BaseModel):
    """A version that answers, as far as the edge needs to know it."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    digest: str
    labels: tuple[str, ...]
    variant: str
    """Engine and precision, as in `openvino/fp32`."""
    input: InputContract
    classes: tuple[str, ...]
    signatures: Mapping[str, Signature]


class RunnerState(BaseModel):
    """All that an edge can ask a runner about its model."""

    name: str
    process: str
    """Another text after a restart."""
    waiting_for: str | None
    """Why nothing answers yet; none once something does."""
    default: int | None
    """The version that answers a request which names none."""
    labels: Mapping[str, int]
    """Where each label leads now."""
    versions: tuple[VersionStatus, ...]
    """The highest first."""
    served: tuple[ModelInfo, ...]

    def require_ready(self) -> None:
        """Refuse while no version answers by default.

        Raises:
            NotReadyError: None does; the message says what is waited for.
        """
        if self.default is None:
            raise NotReadyError(f"no model is available yet: {self.waiting_for}")

    def find(self, target: ModelSpec) -> ModelInfo | None:
        """Return the version that answers a request, or None where there is none such."""
        if target.model != self.name:
            return None
        version = target.version
        if version is None:
            version = self.labels.get(target.label) if target.label is not None else self.default
        return next((model for model in self.served if model.version == version), None)

    def require(self, target: ModelSpec, missing: str) -> ModelInfo:
        """Return the version that answers a request.

        Args:
            target: What the request asks for.
            missing: What to say where there is none such.

        Raises:
            NotReadyError: Nothing of this model answers yet.
            ModelNotFoundError: There is no such model, version or label.
        """
        if model := self.find(target):
            return model
        if target.model == self.name:
            self.require_ready()
        raise ModelNotFoundError(missing)


class VersionBatching(BaseModel):
    """How the batches of one version are made, as far as that is learned."""

    version: int
    variant: str
    """Engine and precision, as in `openvino/fp32`."""
    streams: int
    """Batches that the engine runs side by side under load."""
    batch_size: int
    """The largest batch that pays."""
    image_seconds: float
    """What one more image adds to a batch in a lane."""
    fixed_seconds: float
    """What a batch in a lane costs without its images."""
    lone_image_seconds: float
    """What an image costs that has all cores."""
    images_per_second: Mapping[int, float]
    """In one lane, by batch size; of the sizes that were measured."""


class BatchingState(BaseModel):
    """What the batcher does at this moment."""

    queue_images: int
    queue_images_max: int
    queue_bytes: int
    queue_bytes_max: int
    queue_seconds: float
    """How long what waits will take."""
    running_batches: int
    versions: tuple[VersionBatching, ...]
