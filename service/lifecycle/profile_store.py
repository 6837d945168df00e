"""Batch profiles on disk, beside the cached versions, so that the next start does not calibrate again."""

from __future__ import annotations

import hashlib
import logging
import platform
import sys
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, ValidationError

from engines.cpus import cpu_features
from service.batching.tuning import BatchProfile, CostModel
from service.lifecycle.loaded_version import LoadedVersion

log = logging.getLogger("bentoml.model")

_MAX_BYTES = 2**16

_Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


class _Cost(BaseModel):
    per_image_s: _Seconds
    fixed_s: _Seconds

    @classmethod
    def of(cls, cost: CostModel) -> Self:
        return cls(per_image_s=cost.per_image_s, fixed_s=cost.fixed_s)

    def into(self, cost: CostModel) -> None:
        cost.per_image_s, cost.fixed_s = self.per_image_s, self.fixed_s


class _Record(BaseModel):
    """The profile of one kind of engine on one kind of machine."""

    streams: Annotated[int, Field(ge=1, le=1024)]
    stream_cost: _Cost
    exclusive_cost: _Cost
    rates: Annotated[
        dict[Annotated[int, Field(ge=1, le=1024)], Annotated[float, Field(gt=0, allow_inf_nan=False)]],
        Field(min_length=1),
    ]


class ProfileStore:
    """A folder with a small file per kind of engine and machine; an unreadable file leads to a new calibration."""

    def __init__(self, folder: Path, threads: int, max_batch_size: int) -> None:
        """Keep what a profile depends on besides the engine.

        Args:
            folder: Of the files.
            threads: CPU threads of the engine.
            max_batch_size: The largest size that warm-up tries.
        """
        self._folder = folder.expanduser()
        self._limits = f"{threads} threads, batches of {max_batch_size}"

    def load(self, version: LoadedVersion) -> BatchProfile | None:
        """Return the stored profile of an equal engine on an equal machine, or None."""
        try:
            with self._path(version).open("rb") as file:
                record = _Record.model_validate_json(file.read(_MAX_BYTES))
        except (OSError, ValidationError):
            return None
        profile = BatchProfile(record.streams)
        record.exclusive_cost.into(profile.exclusive_cost)
        record.stream_cost.into(profile.stream_cost)
        for size, rate in record.rates.items():
            profile.record_measurement(size, size / rate)
        return profile

    def save(self, version: LoadedVersion) -> None:
        """Store the profile of an engine; if that fails, the next start takes longer."""
        profile = version.profile
        path = self._path(version)
        try:
            record = _Record(
                streams=profile.streams,
                stream_cost=_Cost.of(profile.stream_cost),
                exclusive_cost=_Cost.of(profile.exclusive_cost),
                rates=profile.rates,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(record.model_dump_json())
            partial.replace(path)
        except (OSError, ValidationError) as error:
            log.warning("The batch profile cannot be stored for the next start: %s", error)

    def _path(self, version: LoadedVersion) -> Path:
        """Return the file of everything that determines the cost of a batch."""
        manifest, variant = version.model.manifest, version.variant
        release = getattr(
            sys.modules.get(variant.engine), "__version__", ""
        )  # Its package is imported, as the engine is loaded.
        kind = (
            f"{manifest.architecture} {manifest.input.height} × {manifest.input.width}, {len(manifest.classes)}",
            f"{variant.name} {release}, {version.engine.streams} streams, {self._limits}",
            f"{platform.machine()} {platform.processor()} {' '.join(sorted(cpu_features()))}",
        )
        return self._folder / f"{hashlib.sha256(chr(10).join(kind).encode()).hexdigest()[:32]}.json"
