"""What the runner says of itself: the versions it knows, and those that answer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from model_store.manifest import InputContract, Signature


class State(StrEnum):
    """Where a version is in its life."""

    LOADING = "loading"
    CHECKING = "checking"
    WARMING = "warming"
    AVAILABLE = "available"
    UNLOADED = "unloaded"
    FAILED = "failed"


class VersionStatus(BaseModel):
    """What is known of a version, for those who ask."""

    version: int
    label: str | None
    digest: str | None
    state: State
    error_code: str = "OK"
    error_message: str = ""


class ServedModel(BaseModel):
    """A version that answers, as far as the edge needs to know it."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    variant: str
    """Engine and precision, as in `openvino/fp32`."""
    input: InputContract
    classes: tuple[str, ...]
    signatures: Mapping[str, Signature]


class RunnerState(BaseModel):
    """All that an edge can ask a runner about its model."""

    name: str
    waiting_for: str | None
    """Why nothing answers yet; none once something does."""
    versions: tuple[VersionStatus, ...]
    served: tuple[ServedModel, ...]

    @property
    def default(self) -> ServedModel | None:
        """Return the version that answers when a request names none."""
        return max(self.served, key=lambda model: model.version, default=None)
