"""Small data sets, and a small network trained on them."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest

from tests.shared import made_once
from training.__main__ import main
from training.data import Dataset, load
from training.run import Run

from . import small_network
from .commands import train_arguments

CLASSES = ("0", "1")
EACH = 12


@pytest.fixture(scope="session")
def few_digits() -> Dataset:
    """12 images of the digit 0 and 12 of the digit 1."""
    digits = load("digits")
    chosen = [index for label in (0, 1) for index in (digits.labels == label).nonzero()[0][:EACH]]
    return Dataset("few", [digits.images[index] for index in chosen], digits.labels[chosen], CLASSES)


@pytest.fixture(scope="session")
def folder(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These images as PNG files, in a folder for each class."""

    def make(root: Path) -> None:
        for number, (encoded, label) in enumerate(zip(few_digits.images, few_digits.labels, strict=True)):
            home = root / CLASSES[label]
            home.mkdir(parents=True, exist_ok=True)
            (home / f"{number:03}.png").write_bytes(encoded)

    return made_once(tmp_path_factory, "images", make)


@pytest.fixture(scope="session")
def json_lines(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These images as JSON lines."""
    path = tmp_path_factory.mktemp("lines") / "examples.jsonl"
    with path.open("w") as out:
        for encoded, label in zip(few_digits.images, few_digits.labels, strict=True):
            example = {"image": {"b64": b64encode(encoded).decode()}, "label": CLASSES[label]}
            out.write(json.dumps(example) + "\n")
    return path


@pytest.fixture(scope="session")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run of the small network on these images; six of them are held out."""

    def make(output: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("training.train.train", small_network.train)
            assert main(train_arguments(folder, output)) == 0

    return Run(made_once(tmp_path_factory, "whole", make))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line in this process train the small network."""
    monkeypatch.setattr("training.train.train", small_network.train)
