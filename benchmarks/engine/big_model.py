"""Make and publish the full-size model to measure with: `python -m benchmarks big_model`.

Xception at 299 × 299 with 1,000 classes, in every variant. Without `--weights` its weights are random: its predictions
are meaningless, its cost is that of the real one. Its accuracy is not measured, so a service uses another precision
than float32 only by name: `MODEL_NAME=xception-299 PRECISION=int8 make serve`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.options import benchmark
from model_store.cli.app import main as run_store

if TYPE_CHECKING:
    from training.source import Source

NAME = "xception-299"


def random_source(seed: int) -> Source:
    """Return Xception as Keras builds it for ImageNet, with random weights whose scores differ between images."""
    import keras
    import numpy as np

    from training.images import decode
    from training.source import Source, imagenet_classes, photograph_crops, photographs
    from training.train import predict

    keras.utils.set_random_seed(seed)
    network = keras.applications.Xception(weights=None)
    features = predict(
        keras.Model(network.input, network.layers[-2].output),
        np.stack([decode(image, 299, 299) for image in photographs()]),
    )
    kernel, bias = network.layers[-1].get_weights()
    spread = (features - features.mean(axis=0)) @ kernel
    kernel = kernel / spread.std() * 2
    network.layers[-1].set_weights([kernel, bias - features.mean(axis=0) @ kernel])
    provenance: dict[str, str | int | float | None] = {"weights": "random", "seed": seed}
    return Source(network, imagenet_classes(), photographs(), None, photograph_crops(), provenance)


@benchmark(__doc__)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="Weights of Keras' ImageNet Xception.")
@click.option("--seed", type=int, default=0, help="Seed of random weights.")
@click.option("--store", metavar="URL", default=f"file://{Path.cwd() / '.local' / 'store'}", help="Where to publish.")
@click.option("--model", default=NAME, help="Name to publish it under.")
def main(weights: str | None, seed: int, store: str, model: str) -> int:
    """Package and publish; return the exit status."""
    from training.export import export
    from training.source import from_imagenet

    source = from_imagenet(weights, None) if weights else random_source(seed)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        export(source, package, say=lambda line: print(line, file=sys.stderr))
        return run_store(["publish", str(package), "--store", store, "--model", model, "--label", "stable"])
