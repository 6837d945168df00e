"""The limit that no service can pass: decoding and engine in one process, with no HTTP, no JSON and no queue.

`python -m loadtest.comparison.bare FOLDER` is started by `python -m loadtest compare`. It loads the variant that the
service would choose from a pulled version, and writes one JSON line that describes it. Then it reads JSON lines, each
a `Way` and how many seconds to work in it, and answers each with a `BatchSpeed`; it ends with its input.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from engines.cpus import available_cpus
from engines.engine import Engine
from engines.registry import load_engine
from engines.selection import choose_variant
from loadtest.batch_speed import BatchSpeed, time_batches
from loadtest.json_lines import answer_lines
from loadtest.pictures import SIZES, jpegs
from model_store.verify import verify_folder
from service.images.decoder import ImageLimits, decode_image
from service.settings import load_settings

from .bare_way import Way

SIZE = SIZES[1]
"""Of the pictures, width × height."""

_LIMITS = ImageLimits(max_bytes=2**24, max_pixels=10**8)


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
            "lanes": self.engine.streams,
            "accuracy": self.variant.accuracy,
            "keras_accuracy": evaluation and evaluation.accuracy,
            "examples": evaluation and evaluation.examples,
            "pictures": [base64.b64encode(picture).decode() for picture in self.pictures],
            "scores": [self.engine.run(self._decode([picture]))[0].tolist() for picture in self.pictures],
        }

    def run(self, way: Way, seconds: float) -> BatchSpeed:
        """Work in one way for so long."""
        if way.streams:
            streams = [partial(self._run_in_lane, self._batches(way.batch), number) for number in range(way.streams)]
        else:
            streams = [partial(self._run_on_all_cores, self._batches(way.batch))]
        time_batches(streams, way.batch, min(0.3, seconds))  # What was at rest warms up.
        return time_batches(streams, way.batch, seconds)

    def _run_on_all_cores(self, batches: Iterator[list[bytes]]) -> None:
        """Decode a batch in as many threads as there are cores, then run it on all of them."""
        batch = next(batches)
        decoded = self._pool.map(lambda picture: self._decode([picture]), batch) if len(batch) > 1 else None
        self.engine.run(np.concatenate(list(decoded)) if decoded else self._decode(batch))

    def _run_in_lane(self, batches: Iterator[list[bytes]], number: int) -> None:
        """Decode a batch and run it in a lane."""
        self.engine.run(self._decode(next(batches)), number)

    def _batches(self, size: int) -> Iterator[list[bytes]]:
        pictures = cycle(self.pictures)
        while True:
            yield [next(pictures) for _ in range(size)]

    def _decode(self, pictures: Sequence[bytes]) -> np.ndarray:
        return np.stack([decode_image(picture, self.model.manifest.input, _LIMITS) for picture in pictures])


def main() -> None:
    """Describe the model, then do one task a line."""
    bare = Bare(Path(sys.argv[1]))
    answer_lines(bare.describe(), lambda task: asdict(bare.run(Way(**task["way"]), task["seconds"])))


if __name__ == "__main__":
    main()
