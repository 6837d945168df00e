"""One engine alone in a process: no decoding, no HTTP, no queue.

`python -m loadtest.engine_process FOLDER NAME THREADS` is started by `python -m loadtest engines`. It loads a variant
of a version, or Keras' model as `keras.predict`, and writes a JSON line that tells its lanes; then it reads JSON lines,
each a `Task`, and answers each with a `Speed`. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from model_store.verify import VerifiedModel, verify_folder
from service.engine import load_engine
from service.warmup import batch_of, golden_pixels

KERAS = "keras.predict"
"""The name under which Keras' own `predict` runs `model.keras`."""

Run = Callable[[NDArray[np.uint8], int | None], Any]


@dataclass(frozen=True)
class Task:
    """What to run."""

    batch: int
    """Images."""
    side_by_side: bool
    """A batch in each lane, or one at a time on all threads."""
    seconds: float
    """How long; what was begun is finished, and one batch is run in any case."""


@dataclass(frozen=True)
class Speed:
    """How it went."""

    rate: float
    """Images a second."""
    batch_ms: float
    """Median time of a batch."""
    cpu_ms: float
    """CPU time an image."""
    memory_mib: float
    """Proportional set size of the process afterwards."""


def load(folder: Path, name: str, threads: int) -> tuple[Run, int, NDArray[np.uint8]]:
    """Return what runs a batch, the number of its lanes, and sample pixels.

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
    return engine.run, engine.lanes, golden_pixels(model)


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


def measure(run: Run, lanes: int, sample: NDArray[np.uint8], task: Task) -> Speed:
    """Run batches for a time."""
    pixels = batch_of(sample, task.batch)
    places: list[int | None] = [*range(lanes)] if task.side_by_side else [None]
    for place in places:  # A size is slow when it is met first.
        run(pixels, place)
    batch_s: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()

    def work(place: int | None) -> None:
        while True:
            begun = time.perf_counter()
            run(pixels, place)
            ended = time.perf_counter()
            batch_s.append(ended - begun)
            if ended > started + task.seconds:
                return

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    images = len(batch_s) * task.batch
    memory = psutil.Process().memory_full_info().pss / 2**20
    return Speed(images / seconds, 1000 * median(batch_s), 1000 * cpu_s / images, memory)


def main() -> None:
    """Tell the lanes, then do one task a line."""
    folder, name, threads = sys.argv[1:]
    run, lanes, sample = load(Path(folder), name, int(threads))
    print(json.dumps(lanes), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(measure(run, lanes, sample, Task(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
