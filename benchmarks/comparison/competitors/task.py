"""The task of a competitor: which model to serve, on which port, and in which of its settings."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

_VARIABLE = "COMPETITOR"


@dataclass(frozen=True)
class Choice:
    """Settings of a serving layer that determine its speed."""

    workers: int = 1
    """Processes that each hold the model."""
    streams: int = 1
    """Batches that each of them runs side by side, on equal shares of its threads."""
    batch: int = 1
    """Largest batch; 1 batches nothing."""
    wait_ms: float = 0.0
    """How long an incomplete batch waits."""

    @property
    def text(self) -> str:
        """Return a description."""
        workers = f"{self.workers} workers, " if self.workers > 1 else ""
        streams = f"{self.streams} stream{'s' if self.streams > 1 else ''}, "
        batch = f"batches up to {self.batch} in {self.wait_ms:g} ms" if self.batch > 1 else "no batches"
        return workers + streams + batch


@dataclass(frozen=True)
class Task:
    """A model, a port and a choice of settings."""

    model: str
    """Its name in the URL."""
    network: str
    """The file of OpenVINO's graph."""
    keras: str
    """The file of the Keras model."""
    precision: str
    """Of the graph: fp32, bf16 or int8."""
    height: int
    width: int
    threads: int
    """CPU threads to use in total."""
    port: int
    choice: Choice

    @property
    def path(self) -> str:
        """Return the path that requests are posted to."""
        return f"/v1/models/{self.model}:predict"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that pass it to the processes of a competitor."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Task:
        """Read it from the environment."""
        document = json.loads(os.environ[_VARIABLE])
        return cls(**{**document, "choice": Choice(**document["choice"])})
