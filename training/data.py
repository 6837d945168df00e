"""Labelled images: the digits, a folder with a sub-folder for each class, or a file of JSON lines."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .images import decode, encode_png

DIGITS = "digits"
_MAX_NAMES = 5
"""Images that an error message names."""


class ImageFiles(Sequence[bytes]):
    """Encoded images that are read from disk on access."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...
    def __getitem__(self, index: int | slice) -> bytes | ImageFiles:
        if isinstance(index, slice):
            return ImageFiles(self.paths[index])
        try:
            return self.paths[index].read_bytes()
        except OSError as error:
            raise DataError(f"{self.paths[index]}: {error.strerror}") from None


@dataclass(frozen=True)
class Dataset:
    """Encoded images with their labels."""

    source: str
    images: Sequence[bytes]
    """Encoded, in any format that Pillow reads."""
    labels: NDArray[np.int64]
    """`[n]`, indices into `classes`."""
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()
    """Names of the images in messages; if empty, messages use index and class."""

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: NDArray[np.int64]) -> Dataset:
        """Return the examples with these indices, in this order."""
        images: Sequence[bytes]
        if isinstance(self.images, ImageFiles):
            images = ImageFiles([self.images.paths[index] for index in indices])
        else:
            images = [self.images[index] for index in indices]
        names = tuple(self.names[index] for index in indices) if self.names else ()
        return Dataset(self.source, images, self.labels[indices], self.classes, names)

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Decode all images into an array in memory, `uint8 [n, height, width, 3]`.

        1,000 images of 71 × 71 take 15 MB, 1,000 of 299 × 299 take 270 MB. Encoded images are read one at a time.

        Raises:
            DataError: Some images cannot be decoded; the message has their number and the first names.
        """
        pixels = np.empty((len(self), height, width, 3), np.uint8)
        broken: list[str] = []
        for index, encoded in enumerate(self.images):
            try:
                pixels[index] = decode(encoded, height, width)
            except DataError as error:
                broken.append(f"{self._name(index)} {error}")
        if broken:
            shown = "; ".join(broken[:_MAX_NAMES])
            raise DataError(f"{self.source}: {len(broken)} of {len(self)} images cannot be used: {shown}")
        return pixels

    def _name(self, index: int) -> str:
        return self.names[index] if self.names else f"image {index} of class {self.classes[self.labels[index]]!r}"


@dataclass(frozen=True)
class Split:
    """Training examples, and held-out examples for evaluation."""

    train: Dataset
    held_out: Dataset


def load(source: str) -> Dataset:
    """Read `digits`, a folder, or a `.jsonl` file.

    Raises:
        DataError: The data does not exist, or no classifier can be trained on it.
    """
    path = Path(source)
    if source == DIGITS:
        dataset = _load_digits()
    elif path.is_dir():
        dataset = _load_folder(path)
    elif path.is_file():
        dataset = _load_json_lines(path)
    else:
        raise DataError(f"--data {source}: give 'digits', a folder with a sub-folder for each class, or a .jsonl file")
    counts = Counter(dataset.labels.tolist())
    if len(dataset.classes) < 2:
        raise DataError(f"{source}: {len(dataset.classes)} class; at least 2 are needed")
    for index, name in enumerate(dataset.classes):
        if name.splitlines() != [name]:
            raise DataError(f"{source}: class {name!r} is not one line of text")
        if counts[index] < 2:
            raise DataError(f"{source}: class {name!r} has {counts[index]} image(s); at least 2 are needed")
    return dataset


def split(dataset: Dataset, held_out: float, seed: int) -> Split:
    """Split off a share of each class, at least one image; the same seed gives the same split.

    Args:
        dataset: All examples.
        held_out: The share, between 0 and 1.
        seed: The seed of the shuffle.
    """
    generator = np.random.default_rng(seed)
    train: list[NDArray[np.int64]] = []
    out: list[NDArray[np.int64]] = []
    for label in range(len(dataset.classes)):
        members = generator.permutation(np.flatnonzero(dataset.labels == label))
        count = min(max(1, round(held_out * len(members))), len(members) - 1)
        out.append(members[:count])
        train.append(members[count:])
    return Split(dataset.subset(np.sort(np.concatenate(train))), dataset.subset(np.sort(np.concatenate(out))))


def _load_digits() -> Dataset:
    """Load scikit-learn's digits: 1,797 scans of 8 × 8 pixels with 17 levels, about 178 per class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    levels = np.round(digits.images / 16 * 255).astype(np.uint8)
    return Dataset(
        DIGITS,
        [encode_png(image) for image in levels],
        digits.target.astype(np.int64),
        tuple(str(name) for name in digits.target_names),
    )


def _load_folder(folder: Path) -> Dataset:
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                paths.append(path)
                labels.append(label)
    names = tuple(map(str, paths))
    return Dataset(str(folder), ImageFiles(paths), np.array(labels, np.int64), classes, names)


def _load_json_lines(path: Path) -> Dataset:
    """Read a file of JSON lines; the encoded images stay in memory."""
    images: list[bytes] = []
    label_names: list[str] = []
    names: list[str] = []
    for number, encoded, label in _json_examples(path):
        images.append(encoded)
        label_names.append(label)
        names.append(f"line {number}")
    classes = tuple(sorted(set(label_names)))
    indices = {name: index for index, name in enumerate(classes)}
    labels = np.array([indices[label] for label in label_names], np.int64)
    return Dataset(str(path), images, labels, classes, tuple(names))


def _json_examples(path: Path) -> Iterator[tuple[int, bytes, str]]:
    """Yield line number, image and label of lines such as `{"image": {"b64": "…"}, "label": "seaside"}`."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                example = json.loads(line)
                label = example["label"]
                if not isinstance(label, str) or not label:
                    raise ValueError("'label' must be a non-empty string")
                yield number, base64.b64decode(example["image"]["b64"], validate=True), label
            except KeyError as error:
                raise DataError(f"{path}, line {number}: {error} is missing") from None
            except (ValueError, TypeError) as error:
                raise DataError(f"{path}, line {number}: {error}") from None
