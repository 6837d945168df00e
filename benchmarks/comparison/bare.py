"""Measure the upper bound of any service: decoding and engine in one process, without HTTP, JSON or a queue.

`python -m benchmarks compare` starts `python -m benchmarks.comparison.bare FOLDER`, where the folder holds a pulled
version. The process loads the variant that the service would choose and writes one JSON line that describes it. Then it
reads JSON lines, each a `Layout` and how many seconds to work in it, and answers each with a `BatchSpeed`; it ends with
its input.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring.batch_speed import BatchSpeed, time_batches
from benchmarks.measuring.json_lines import serve_lines
from engines.cpus import available_cpus
from engines.engine import Engine
from engines.registry import load_engine
from engines.selection import choose_variant
from loadtest.load.images import SIZES, jpegs
from model_store.trust.verify import verify_folder
from service.images.decoder import ImageLimits, decode_image
from service.settings import load_settings

from .bare_layout import Layout

SIZE = SIZES[1]
"""Of the images, width × height."""

_LIMITS = ImageLimits(max_bytes=2**24, max_pixels=10**8)


class BareEngine:
    """Decode the images in turn and run the engine."""

    def __init__(self, folder: Path) -> None:
        settings = load_settings()
        self.model = verify_folder(folder)
        self.variant = choose_variant(
            self.model.manifest, settings.engine, settings.precision, settings.max_accuracy_loss
        )
        self.threads = settings.engine_threads or available_cpus()
        self.engine: Engine = load_engine(self.model, self.variant, self.threads)
        self.images = jpegs(SIZE)
        self._pool = ThreadPoolExecutor(self.threads)

    def describe(self) -> dict[str, Any]:
        """Return what the competitors need to run the same model, and the scores that they must return."""
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
            "streams": self.engine.streams,
            "accuracy": self.variant.accuracy,
            "keras_accuracy": evaluation and evaluation.accuracy,
            "examples": evaluation and evaluation.examples,
            "scores": [self.engine.run(self._decode([image]))[0].tolist() for image in self.images],
        }

    def run(self, layout: Layout, seconds: float) -> BatchSpeed:
        """Work in one layout for a time."""
        if layout.streams:
            streams = [
                partial(self._run_in_stream, self._batches(layout.batch), number) for number in range(layout.streams)
            ]
        else:
            streams = [partial(self._run_on_all_cores, self._batches(layout.batch))]
        time_batches(streams, layout.batch, min(0.3, seconds))  # Warm-up.
        return time_batches(streams, layout.batch, seconds)

    def _run_on_all_cores(self, batches: Iterator[list[bytes]]) -> None:
        """Decode a batch in as many threads as there are cores, then run it on all of them."""
        batch = next(batches)
        decoded = self._pool.map(lambda image: self._decode([image]), batch) if len(batch) > 1 else None
        self.engine.run(np.concatenate(list(decoded)) if decoded else self._decode(batch))

    def _run_in_stream(self, batches: Iterator[list[bytes]], number: int) -> None:
        """Decode a batch and run it in a stream."""
        self.engine.run(self._decode(next(batches)), number)

    def _batches(self, size: int) -> Iterator[list[bytes]]:
        images = cycle(self.images)
        while True:
            yield [next(images) for _ in range(size)]

    def _decode(self, images: Sequence[bytes]) -> np.ndarray:
        return np.stack([decode_image(image, self.model.manifest.input, _LIMITS) for image in images])


def main() -> None:
    """Describe the model, then run one task a line."""
    bare = BareEngine(Path(sys.argv[1]))
    serve_lines(bare.describe(), lambda task: asdict(bare.run(Layout(**task["layout"]), task["seconds"])))


if __name__ == "__main__":
    main()
