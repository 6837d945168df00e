"""The full-size model for measurements, packaged and published: `python -m loadtest big_model`.

Xception at 299 × 299 with 1,000 classes, in every variant. Without `--weights` its weights are random: what it answers
means nothing, what it costs is what the real one costs. Its accuracy is not measured, so a service takes another
precision than float32 only by name: `MODEL_NAME=xception-299 PRECISION=int8 make serve`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.cli.app import main as store

if TYPE_CHECKING:
    from training.source import Source

NAME = "xception-299"


def random_source(seed: int) -> Source:
    """Return Xception as Keras builds it for ImageNet, of random weights, whose scores differ between pictures."""
    import keras
    import numpy as np

    from training.images import decode
    from training.source import Source, imagenet_classes, photograph_crops, photographs
    from training.train import predict

    keras.utils.set_random_seed(seed)
    network = keras.applications.Xception(weights=None)
    features = predict(
        keras.Model(network.input, network.layers[-2].output),
        np.stack([decode(picture, 299, 299) for picture in photographs()]),
    )
    kernel, bias = network.layers[-1].get_weights()
    spread = (features - features.mean(axis=0)) @ kernel
    kernel = kernel / spread.std() * 2
    network.layers[-1].set_weights([kernel, bias - features.mean(axis=0) @ kernel])
    provenance: dict[str, str | int | float | None] = {"weights": "random", "seed": seed}
    return Source(network, imagenet_classes(), photographs(), None, photograph_crops(), provenance)


def main(arguments: list[str]) -> int:
    """Package and publish; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest big_model", description=__doc__.split("\n\n")[1], allow_abbrev=False
    )
    parser.add_argument("--weights", metavar="FILE", help="weights of Keras' ImageNet Xception, for true answers")
    parser.add_argument("--seed", type=int, default=0, help="of random weights (default: 0)")
    parser.add_argument("--store", metavar="URL", default=f"file://{Path.cwd() / '.local' / 'store'}")
    parser.add_argument("--model", default=NAME, help=f"name to publish it under (default: {NAME})")
    options = parser.parse_args(arguments)
    if options.weights and not Path(options.weights).is_file():
        parser.error(f"--weights {options.weights}: there is no such file")

    from training.export import export
    from training.source import from_imagenet

    source = from_imagenet(options.weights, None) if options.weights else random_source(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        export(source, package, say=lambda line: print(line, file=sys.stderr))
        return store(["publish", str(package), "--store", options.store, "--model", options.model, "--label", "stable"])
