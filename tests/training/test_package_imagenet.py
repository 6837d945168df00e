"""`package-imagenet`: Keras' Xception with the ImageNet class names and photographs as golden images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets

from model_store.trust.manifest import Manifest
from model_store.trust.verify import unlisted_files, verify_folder
from training.__main__ import main
from training.images import decode
from training.source import photographs
from training.train import predict
from training.warmup_records import MAX_BYTES, WARMUP_PATH

from .network_files import legacy_weights
from .serving_session import ServingSession


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, keras.Model]]:
    """Keras' Xception for ImageNet with random weights, packaged from a file in the format of Keras 2."""
    home = tmp_path_factory.mktemp("imagenet")
    keras.utils.set_random_seed(7)
    network = keras.applications.Xception(weights=None)
    kernel, bias = network.layers[-1].get_weights()
    features = predict(
        keras.Model(network.input, network.layers[-2].output),
        np.stack([decode(image, 299, 299) for image in photographs()]),
    )
    # Scores that differ between classes and images; otherwise all engines would agree.
    spread = (features - features.mean(axis=0)) @ kernel
    kernel = kernel / spread.std() * 2
    network.layers[-1].set_weights([kernel, bias - features.mean(axis=0) @ kernel])
    legacy_weights(network, home / "weights.h5")
    assert (
        main(
            [
                "package-imagenet",
                "--weights",
                str(home / "weights.h5"),
                "--output",
                str(home / "package"),
                "--calibration-images",
                "0",
            ]
        )
        == 0
    )
    assert sorted(path.name for path in home.iterdir()) == ["package", "weights.h5"]
    yield home / "package", network
    shutil.rmtree(home)  # 330 MB


def test_the_package_has_the_names_of_imagenet(imagenet: tuple[Path, keras.Model]) -> None:
    folder, _ = imagenet
    manifest = verify_folder(folder).manifest
    assert unlisted_files(folder, manifest) == []
    assert (manifest.input.height, manifest.input.width) == (299, 299)
    assert manifest.signatures["pixels"].inputs["pixels"].shape == (-1, 299, 299, 3)
    assert manifest.signatures["pixels"].outputs["scores"].shape == (-1, 1000)
    assert len(manifest.classes) == 1000
    assert manifest.classes[:3] == ("tench", "goldfish", "great white shark")
    assert manifest.classes[-1] == "toilet paper"
    assert (folder / "classes.txt").read_text(encoding="utf-8").splitlines() == list(manifest.classes)
    assert manifest.evaluation is None
    assert {variant.accuracy for variant in manifest.variants} == {None}
    assert manifest.provenance["weights"] == "weights.h5"


def test_warm_up_uses_photographs(imagenet: tuple[Path, keras.Model]) -> None:
    folder, _ = imagenet
    with ServingSession(folder) as session:
        used = session.warm_up(folder)
    assert sorted(used) == ["classify_images", "pixels", *["serving_default"] * 5]
    assert (folder / WARMUP_PATH).stat().st_size < MAX_BYTES


def test_golden_images_are_the_photographs(imagenet: tuple[Path, keras.Model]) -> None:
    folder, network = imagenet
    golden = Manifest.parse((folder / "manifest.json").read_bytes()).golden
    images = [(folder / path).read_bytes() for path in golden.images]
    assert [Path(path).suffix for path in golden.images] == [".jpg"] * 8
    assert images == photographs()
    originals = Path(sklearn.datasets.__file__).parent / "images"
    assert {(originals / "china.jpg").read_bytes(), (originals / "flower.jpg").read_bytes()} <= set(images)
    pixels, scores = np.load(folder / golden.pixels), np.load(folder / golden.scores)
    np.testing.assert_array_equal(pixels, [decode(image, 299, 299) for image in images])
    assert scores.shape == (8, 1000)
    assert np.ptp(scores, axis=0).max() > 0.01  # Scores differ between images.
    np.testing.assert_allclose(predict(network, pixels), scores, atol=1e-5)
