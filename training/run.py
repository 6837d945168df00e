"""The folder of a training run: its settings, its progress, and in the end its model.

config.json             what was asked for; written first, never changed once an epoch is done
progress.json           epochs done and their figures; names the checkpoint that belongs to it
checkpoint-0003.keras   the model after that epoch with the state of its optimizer
model.keras             the trained model, once the last epoch is done
evaluation.json, .html  what `evaluate` found
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .data import Dataset, Split, load, split
from .errors import RunError


class RunConfig(BaseModel):
    """All that decides what a run learns."""

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
    """Whether pictures are mirrored at random."""
    weights: str | None
    """What the network started from."""


class Epoch(BaseModel):
    """The figures of one epoch."""

    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


class Progress(BaseModel):
    """How far a run has come."""

    history: list[Epoch] = []

    @property
    def epochs(self) -> int:
        """Return the number of epochs done."""
        return len(self.history)


class Run:
    """A run's folder; files appear in it only whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.keras"
        self.evaluation = folder / "evaluation.json"
        self._config = folder / "config.json"
        self._progress = folder / "progress.json"

    @property
    def started(self) -> bool:
        """Tell whether the folder holds a run."""
        return self._config.exists()

    @property
    def finished(self) -> bool:
        """Tell whether the last epoch is done."""
        return self.model.exists()

    def config(self) -> RunConfig:
        """Return what was asked for.

        Raises:
            RunError: The folder holds no run.
        """
        if not self.started:
            raise RunError(f"{self.folder}: holds no training run; make one with: python -m training train --output")
        try:
            return RunConfig.model_validate_json(self._config.read_bytes())
        except ValidationError as error:
            raise RunError(f"{self._config}: {error.errors(include_url=False)[0]['msg']}") from None

    def begin(self, config: RunConfig) -> None:
        """Write down what was asked for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write("config.json", lambda path: path.write_text(config.model_dump_json(indent=1), encoding="utf-8"))

    def progress(self) -> Progress:
        """Return how far the run has come; nothing done where nothing was written."""
        if not self._progress.exists():
            return Progress()
        return Progress.model_validate_json(self._progress.read_bytes())

    def checkpoint(self, epochs: int) -> Path:
        """Return where the model after so many epochs lies."""
        return self.folder / f"checkpoint-{epochs:04d}.keras"

    def keep(self, progress: Progress, save: Callable[[Path], object]) -> None:
        """Keep the model after an epoch; only then does the one before go."""
        current = self.checkpoint(progress.epochs)
        self.write(current.name, save)
        self.write("progress.json", lambda path: path.write_text(progress.model_dump_json(indent=1), encoding="utf-8"))
        for other in self.folder.glob("checkpoint-*.keras"):
            if other != current:
                other.unlink()

    def finish(self, progress: Progress) -> None:
        """Make the last checkpoint the model of the run."""
        self.checkpoint(progress.epochs).replace(self.model)

    def write(self, name: str, save: Callable[[Path], object]) -> None:
        """Let `save` write a file beside, then give it its name at once."""
        target = self.folder / name
        beside = target.with_name(f".partial-{name}")  # One name, so that a killed writer leaves at most one.
        try:
            save(beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def split(self) -> Split:
        """Read the data again and split it as training did.

        Raises:
            DataError: The data is not there any more.
            RunError: It is not what the run was trained on.
        """
        config = self.config()
        dataset = load(config.data)
        if data_digest(dataset) != config.data_sha256:
            raise RunError(f"{config.data}: has changed since {self.folder} was trained on it")
        return split(dataset, config.held_out, config.seed)


def data_digest(dataset: Dataset) -> str:
    """Return a hash of all pictures and labels, in their order."""
    state = hashlib.sha256("\0".join(dataset.classes).encode())
    for encoded, label in zip(dataset.images, dataset.labels, strict=True):
        state.update(label.tobytes())
        state.update(hashlib.sha256(encoded).digest())
    return state.hexdigest()
