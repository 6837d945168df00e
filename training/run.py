"""The folder of a training run: settings, progress, and finally the model.

config.json             the settings; written first, not changed after the first epoch
progress.json           metrics of the finished epochs; their number gives the matching checkpoint
checkpoint-0003.keras   the model after that epoch, with the state of its optimizer
model.keras             the trained model, after the last epoch
evaluation.json, .html  the results of `evaluate`
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .data import Dataset, Split, load, split
from .errors import RunError


class RunConfig(BaseModel):
    """The settings of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    data_sha256: str
    classes: tuple[str, ...]
    image_size: int = Field(ge=71, le=1024)
    """Height and width, in pixels."""
    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=2, le=4096)
    learning_rate: float = Field(gt=0, le=1)
    seed: int = Field(ge=0)
    held_out: float = Field(gt=0, lt=1)
    flip: bool
    """Whether images are mirrored at random."""
    weights: str | None
    """Pretrained weights, or None."""


class Epoch(BaseModel):
    """The metrics of one epoch."""

    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


class Progress(BaseModel):
    """The finished epochs of a run."""

    history: list[Epoch] = []

    @property
    def epochs(self) -> int:
        """Return the number of finished epochs."""
        return len(self.history)


class Run:
    """The folder of a run; files in it are written atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.keras"
        self.evaluation = folder / "evaluation.json"
        self._config = folder / "config.json"
        self._progress = folder / "progress.json"

    @property
    def started(self) -> bool:
        """Return whether the folder contains a run."""
        return self._config.exists()

    @property
    def finished(self) -> bool:
        """Return whether the last epoch is finished."""
        return self.model.exists()

    def config(self) -> RunConfig:
        """Return the settings.

        Raises:
            RunError: The folder contains no run.
        """
        if not self.started:
            raise RunError(
                f"{self.folder}: contains no training run; start one with: python -m training train --output"
            )
        try:
            return RunConfig.model_validate_json(self._config.read_bytes())
        except ValidationError as error:
            raise RunError(f"{self._config}: {error.errors(include_url=False)[0]['msg']}") from None

    def begin(self, config: RunConfig) -> None:
        """Create the folder and write the settings."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write("config.json", lambda path: path.write_text(config.model_dump_json(indent=1), encoding="utf-8"))

    def progress(self) -> Progress:
        """Return the finished epochs; none if there is no progress file."""
        if not self._progress.exists():
            return Progress()
        return Progress.model_validate_json(self._progress.read_bytes())

    def checkpoint(self, epochs: int) -> Path:
        """Return the path of the checkpoint after a number of epochs."""
        return self.folder / f"checkpoint-{epochs:04d}.keras"

    def save_checkpoint(self, progress: Progress, save: Callable[[Path], object]) -> None:
        """Save a checkpoint and the progress, then delete older checkpoints."""
        current = self.checkpoint(progress.epochs)
        self.write(current.name, save)
        self.write("progress.json", lambda path: path.write_text(progress.model_dump_json(indent=1), encoding="utf-8"))
        for other in self.folder.glob("checkpoint-*.keras"):
            if other != current:
                other.unlink()

    def finish(self, progress: Progress) -> None:
        """Rename the last checkpoint to `model.keras`."""
        self.checkpoint(progress.epochs).replace(self.model)

    def write(self, name: str, save: Callable[[Path], object]) -> None:
        """Write a file atomically: `save` writes a temporary file, which is then renamed."""
        target = self.folder / name
        partial = target.with_name(f".partial-{name}")  # A fixed name, so that killed writers leave at most one.
        try:
            save(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def split(self) -> Split:
        """Load the data and split it as for training.

        Raises:
            DataError: The data no longer exists.
            RunError: The data has changed since training.
        """
        config = self.config()
        dataset = load(config.data)
        if data_digest(dataset) != config.data_sha256:
            raise RunError(f"{config.data}: has changed since {self.folder} was trained on it")
        return split(dataset, config.held_out, config.seed)


def data_digest(dataset: Dataset) -> str:
    """Return the SHA-256 of all images and labels, in order."""
    state = hashlib.sha256("\0".join(dataset.classes).encode())
    for encoded, label in zip(dataset.images, dataset.labels, strict=True):
        state.update(label.tobytes())
        state.update(hashlib.sha256(encoded).digest())
    return state.hexdigest()
