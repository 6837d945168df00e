"""The state that the runner reports: its versions, their routes, and the batcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from model_store.trust.manifest import InputContract, Signature
from service.core.errors import ModelNotFoundError, NotReadyError


class VersionState(StrEnum):
    """The state of a version in its life cycle."""

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
    """The model of a request, and optionally its version, by number or by label."""

    model: str
    version: int | None = None
    label: str | None = None


class VersionStatus(BaseModel):
    """The status of a version."""

    version: int
    digest: str
    """Of its manifest."""
    labels: tuple[str, ...] = ()
    """The labels that route to it."""
    state: VersionState = VersionState.PULLING
    error_code: str = "OK"
    """The canonical name of a gRPC status, as TensorFlow Serving gives it."""
    error_message: str = ""


class ModelInfo(BaseModel):
    """A loaded version, as the edge needs it."""

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
    """The state of a runner's model."""

    name: str
    process: str
    """Identifies the process; changes with every restart."""
    waiting_for: str | None
    """Why no version is available yet; None once the default version is."""
    default: int | None
    """The version of requests that name none."""
    labels: Mapping[str, int]
    """The version of each label."""
    versions: tuple[VersionStatus, ...]
    """The highest first."""
    served: tuple[ModelInfo, ...]

    def require_ready(self) -> None:
        """Require an available default version.

        Raises:
            NotReadyError: There is none yet; the message says why.
        """
        if self.default is None:
            raise NotReadyError(f"no model is available yet: {self.waiting_for}")

    def find(self, spec: ModelSpec) -> ModelInfo | None:
        """Return the version that serves a request, or None."""
        if spec.model != self.name:
            return None
        version = spec.version
        if version is None:
            version = self.labels.get(spec.label) if spec.label is not None else self.default
        return next((model for model in self.served if model.version == version), None)

    def require(self, spec: ModelSpec, missing: str) -> ModelInfo:
        """Return the version that serves a request.

        Args:
            spec: Of the request.
            missing: The error message if there is no such version.

        Raises:
            NotReadyError: No version of this model is available yet.
            ModelNotFoundError: There is no such model, version or label.
        """
        if model := self.find(spec):
            return model
        if spec.model == self.name:
            self.require_ready()
        raise ModelNotFoundError(missing)


class VersionBatching(BaseModel):
    """The learned batching of one version."""

    version: int
    variant: str
    """Engine and precision, as in `openvino/fp32`."""
    streams: int
    """Batches that the engine runs in parallel under load."""
    batch_size: int
    """The learned batch size."""
    image_seconds: float
    """Seconds that one more image adds to a batch in a stream."""
    fixed_seconds: float
    """Seconds of a batch in a stream without its images."""
    lone_image_seconds: float
    """Seconds of a single image on all cores."""
    images_per_second: Mapping[int, float]
    """In one stream, by measured batch size."""


class BatchingState(BaseModel):
    """The current state of the batcher."""

    queue_images: int
    queue_images_max: int
    queue_bytes: int
    queue_bytes_max: int
    queue_seconds: float
    """Seconds that the queued images will take."""
    running_batches: int
    versions: tuple[VersionBatching, ...]
