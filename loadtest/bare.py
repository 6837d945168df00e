"""The limit that no service can pass: decoding and engine in one process, with no HTTP, no JSON and no queue.

`python -m loadtest.bare FOLDER` is started by `python -m loadtest compare`. It loads the variant that the service
would choose from a pulled version, and writes one JSON line that describes it. Then it reads JSON lines, each a `Task`,
and answers each with a line; it ends with its input.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from model_store.verify import verify_folder
from service.cpus import available_cpus
from service.decode import ImageLimits, decode_image
from service.engine import Engine, choose_variant, load_engine
from service.settings import load_settings

from .bare_way import Way
from .pictures import SIZES, jpegs

SIZE = SIZES[1]
"""Of the pictures, width × height."""

_LIMITS = ImageLimits(max_bytes=2**24, max_pixels=10**8)


@dataclass(frozen=True)
class Task:
    """What to run."""

    way: Way
    seconds: float

    @classmethod
    def parse(cls, line: str) -> Task:
        """Read a line of the input."""
        document = json.loads(line)
        return cls(Way(**document["way"]), document["seconds"])


class Bare:
    """Decodes the pictures in turn, and runs them."""

    def __init__(self, folder: Path) -> None:
        settings = load_settings()
        self.model = verify_folder(folder)
        self.variant = choose_variant(
            self.model.manifest, settings.engine, settings.precision, settings.max_accuracy_loss
        )
        self.threads = settings.engine_threads or available_cpus()
        self.engine: Engine = load_engine(self.model, self.variant, self.threads)
        self.pictures = jpegs(SIZE)
        self._pool = ThreadPoolExecutor(self.threads)

    def describe(self) -> dict[str, Any]:
        """Return what the others need to run the same, and what they must answer."""
        manifest = self.model.manifest
        evaluation = manifest.evaluation
        return {
            "variant": self.variant.name,
            "engine": self.variant.engine,
            "precision": self.variant.precision,
            "network": str(self.model.path(self.variant.path).resolve()),
            "height": manifest.input.height,
            "width": manifest.input.width,
            "classes": len(manifest.classes),
            "threads": self.threads,
            "lanes": self.engine.lanes,
            "accuracy": self.variant.accuracy,
            "keras_accuracy": evaluation and evaluation.accuracy,
            "examples": evaluation and evaluation.examples,
            "pictures": [base64.b64encode(picture).decode() for picture in self.pictures],
            "scores": [self.engine.run(self._decode([picture]))[0].tolist() for picture in self.pictures],
        }

    def run(self, task: Task) -> dict[str, Any]:
        """Do a task, and return images a second, the median time of a batch in ms, and CPU time an image in ms."""
        run = self._run_in_lanes if task.way.lanes else self._run_on_all_cores
        run(task.way, min(0.3, task.seconds))  # What was at rest warms up.
        cpu, started = time.process_time(), time.perf_counter()
        batch_s = run(task.way, task.seconds)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        images = len(batch_s) * task.way.batch
        return {"rate": images / seconds, "batch_ms": 1000 * median(batch_s), "cpu_ms": 1000 * cpu_s / images}

    def _run_on_all_cores(self, way: Way, seconds: float) -> list[float]:
        """Decode each batch in as many threads as there are cores, then run it on all of them."""
        batches, until, batch_s = self._batches(way.batch), time.perf_counter() + seconds, []
        while (started := time.perf_counter()) < until:
            batch = next(batches)
            decoded = self._pool.map(lambda picture: self._decode([picture]), batch) if len(batch) > 1 else None
            self.engine.run(np.concatenate(list(decoded)) if decoded else self._decode(batch))
            batch_s.append(time.perf_counter() - started)
        return batch_s

    def _run_in_lanes(self, way: Way, seconds: float) -> list[float]:
        """Decode and run in each lane batch by batch, without regard to the others."""
        until, batch_s = time.perf_counter() + seconds, []

        def lane(number: int) -> None:
            batches = self._batches(way.batch)
            while (started := time.perf_counter()) < until:
                self.engine.run(self._decode(next(batches)), number)
                batch_s.append(time.perf_counter() - started)

        threads = [threading.Thread(target=lane, args=(number,)) for number in range(way.lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return batch_s

    def _batches(self, size: int) -> Iterator[list[bytes]]:
        pictures = cycle(self.pictures)
        while True:
            yield [next(pictures) for _ in range(size)]

    def _decode(self, pictures: Sequence[bytes]) -> np.ndarray:
        return np.stack([decode_image(picture, self.model.manifest.input, _LIMITS) for picture in pictures])


def main() -> None:
    """Describe the model, then do one task a line."""
    bare = Bare(Path(sys.argv[1]))
    print(json.dumps(bare.describe()), flush=True)
    for line in sys.stdin:
        print(json.dumps(bare.run(Task.parse(line))), flush=True)


if __name__ == "__main__":
    main()
