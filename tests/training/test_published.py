"""A published version without this project: plain TensorFlow, and a session such as TensorFlow Serving's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from model_store.trust.manifest import Manifest
from tests.conftest import run_module

from .serving_session import ServingSession, example

SAME_PIXELS = 1e-3
OTHER_DECODER = 0.02
"""Where TensorFlow's resize stands beside Pillow's: pixels of a digit differ by a level."""


@pytest.fixture(scope="module")
def base(xception_store_url: str) -> Path:
    """What TensorFlow Serving would be told as the base path of the model."""
    return Path(xception_store_url.removeprefix("file://")) / "xception"


@pytest.fixture(scope="module")
def pulled(xception_store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version, pulled from the store as a whole."""
    folder = tmp_path_factory.mktemp("pulled") / "xception" / "1"
    run_module("model_store", "pull", "xception:1", "--output", str(folder), "--store", xception_store_url)
    run_module("model_store", "verify", str(folder))
    return folder


@pytest.fixture(scope="module")
def manifest(pulled: Path) -> Manifest:
    return Manifest.parse((pulled / "manifest.json").read_bytes())


class Golden:
    """The golden set of a version, as read from its folder."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.pictures = [(folder / path).read_bytes() for path in manifest.golden.images]
        self.examples = [example(image_bytes=picture) for picture in self.pictures]
        self.pixels: NDArray[np.uint8] = np.load(folder / manifest.golden.pixels)
        self.scores: NDArray[np.float32] = np.load(folder / manifest.golden.scores)


@pytest.fixture(scope="module")
def known(pulled: Path, manifest: Manifest) -> Golden:
    return Golden(pulled, manifest)


def test_the_store_is_laid_out_as_tensorflow_serving_looks_for_versions(base: Path, manifest: Manifest) -> None:
    # Folders whose names are numbers are its versions; it passes over everything else.
    assert [path.name for path in base.iterdir() if path.name.isdecimal()] == ["1"]
    there = {path.relative_to(base / "1").as_posix() for path in (base / "1").rglob("*") if path.is_file()}
    assert {
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/tf_serving_warmup_requests",
    } <= there
    assert there == {"manifest.json", *(file.path for file in manifest.files)}


def test_warm_up_records_are_pulled_by_nobody_else(manifest: Manifest) -> None:
    assert manifest.file("assets.extra/tf_serving_warmup_requests").size > 0
    for variant in manifest.variants:
        assert not any(path.startswith("assets.extra/") for path in manifest.serving_files(variant))


def test_plain_tensorflow_gives_the_golden_scores(pulled: Path, manifest: Manifest, known: Golden) -> None:
    loaded: Any = tf.saved_model.load(str(pulled))
    assert set(loaded.signatures) == set(manifest.signatures)
    answer = loaded.signatures["pixels"](pixels=tf.constant(known.pixels))
    np.testing.assert_allclose(answer["scores"].numpy(), known.scores, atol=SAME_PIXELS)
    answer = loaded.signatures["serving_default"](image_bytes=tf.constant(known.pictures))
    np.testing.assert_allclose(answer["scores"].numpy(), known.scores, atol=OTHER_DECODER)
    answer = loaded.signatures["classify_images"](inputs=tf.constant(known.examples))
    np.testing.assert_allclose(answer["scores"].numpy(), known.scores, atol=OTHER_DECODER)
    names = [[name.decode() for name in row] for row in answer["classes"].numpy()]
    assert names == [list(manifest.classes)] * len(known.pictures)


def test_a_session_on_the_store_gives_the_golden_scores(base: Path, manifest: Manifest, known: Golden) -> None:
    with ServingSession(base / "1") as session:
        asked = session.warm_up(base / "1")
        assert set(asked) == set(manifest.signatures)
        for name, signature in manifest.signatures.items():
            assert session.signatures[name].method_name == f"tensorflow/serving/{signature.method}"
        scores = session.run("pixels", pixels=known.pixels)["scores"]
        np.testing.assert_allclose(scores, known.scores, atol=SAME_PIXELS)
        scores = session.run("serving_default", image_bytes=known.pictures)["scores"]
        np.testing.assert_allclose(scores, known.scores, atol=OTHER_DECODER)
        for result, expected in zip(session.classify("classify_images", known.examples), known.scores, strict=True):
            assert [name for name, _ in result] == list(manifest.classes)
            np.testing.assert_allclose([score for _, score in result], expected, atol=OTHER_DECODER)
