"""Run one engine alone in a process: no decoding, no HTTP, no queue.

`python -m benchmarks engines` starts `python -m benchmarks.engine.engine_process FOLDER NAME THREADS`. The process
loads a variant of a version, or Keras' model as `keras.predict`, and writes a JSON line with the number of its streams;
then it reads JSON lines, each a `Task`, and answers each with a `Speed`. It ends with its input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.batch_speed import BatchSpeed, time_batches
from benchmarks.measuring.json_lines import serve_lines
from benchmarks.measuring.processes import memory_mib
from engines.registry import load_engine
from model_store.trust.verify import VerifiedModel, verify_folder
from service.batching.calibration import batch_of
from service.lifecycle.golden_check import golden_pixels

KERAS = "keras.predict"
"""The name under which Keras' own `predict` runs `model.keras`."""

Run = Callable[[NDArray[np.uint8], int | None], Any]


@dataclass(frozen=True)
class Task:
    """Batches to run."""

    batch: int
    """Images."""
    side_by_side: bool
    """A batch in each stream, or one at a time on all threads."""
    seconds: float
    """How long; a batch that was begun is finished, and one batch runs in any case."""


@dataclass(frozen=True)
class Speed(BatchSpeed):
    """Speed and memory of an engine."""

    memory_mib: float
    """Proportional set size of the process afterwards."""


def load(folder: Path, name: str, threads: int) -> tuple[Run, int, NDArray[np.uint8]]:
    """Load an engine; return the function that runs a batch, the number of streams, and sample pixels.

    Args:
        folder: A version.
        name: A variant such as `openvino/int8`, or `keras.predict`.
        threads: CPU threads to use.
    """
    if name == KERAS:
        return _load_keras(folder, threads)
    model = verify_folder(folder)
    variant = next(variant for variant in model.manifest.variants if variant.name == name)
    engine = load_engine(model, variant, threads)
    return engine.run, engine.streams, golden_pixels(model)


def _load_keras(folder: Path, threads: int) -> tuple[Run, int, NDArray[np.uint8]]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model: VerifiedModel = verify_folder(folder)
    network = keras.models.load_model(model.path("model.keras"), compile=False)
    contract = model.manifest.input

    def run(pixels: NDArray[np.uint8], _: int | None) -> Any:
        return network.predict((pixels.astype(np.float32) - contract.mean) / contract.scale, verbose=0)

    return run, 1, golden_pixels(model)


def measure(run: Run, streams: int, sample: NDArray[np.uint8], task: Task) -> Speed:
    """Run batches for a time."""
    pixels = batch_of(sample, task.batch)
    places: list[int | None] = [*range(streams)] if task.side_by_side else [None]
    for place in places:  # A size is slow when it is met first.
        run(pixels, place)
    lanes_run = [partial(run, pixels, place) for place in places]
    return Speed(**asdict(time_batches(lanes_run, task.batch, task.seconds)), memory_mib=memory_mib())


def main() -> None:
    """Write the number of streams, then run one task a line."""
    folder, name, threads = sys.argv[1:]
    run, streams, sample = load(Path(folder), name, int(threads))
    serve_lines(streams, lambda task: asdict(measure(run, streams, sample, Task(**task))))


if __name__ == "__main__":
    main()
