"""`package-imagenet`: Xception as Keras builds it, with its names and with photographs."""

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
    """Xception as Keras builds it for ImageNet, of random weights, packaged from a file such as Keras 2 wrote."""
    home = tmp_path_factory.mktemp("imagenet")
    keras.utils.set_random_seed(7)
    network = keras.applications.Xception(weights=None)
    kernel, bias = network.layers[-1].get_weights()
    features = predict(
        keras.Model(network.input, network.layers[-2].output),
        np.stack([decode(picture, 299, 299) for picture in photographs()]),
    )
    # Scores that differ from class to class and from picture to picture; else every engine would agree.
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
                "8",
            ]
        )
        == 0
    )
    assert sorted(path.name for path in home.iterdir()) == ["package", "weights.h5"]
    yield home / "package", network
    shutil.rmtree(home)  # 360 MB


def test_imagenet_is_packaged_with_its_names(imagenet: tuple[Path, keras.Model]) -> None:
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


def test_imagenet_is_warmed_up_with_photographs(imagenet: tuple[Path, keras.Model]) -> None:
    folder, _ = imagenet
    with ServingSession(folder) as session:
        asked = session.warm_up(folder)
    assert sorted(asked) == ["classify_images", "pixels", *["serving_default"] * 5]
    assert (folder / WARMUP_PATH).stat().st_size < MAX_BYTES


def test_golden_pictures_of_imagenet_are_the_photographs(imagenet: tuple[Path, keras.Model]) -> None:
    folder, network = imagenet
    golden = Manifest.parse((folder / "manifest.json").read_bytes()).golden
    pictures = [(folder / path).read_bytes() for path in golden.images]
    assert [Path(path).suffix for path in golden.images] == [".jpg"] * 8
    assert pictures == photographs()
    images = Path(sklearn.datasets.__file__).parent / "images"
    assert {(images / "china.jpg").read_bytes(), (images / "flower.jpg").read_bytes()} <= set(pictures)
    pixels, scores = np.load(folder / golden.pixels), np.load(folder / golden.scores)
    np.testing.assert_array_equal(pixels, [decode(picture, 299, 299) for picture in pictures])
    assert scores.shape == (8, 1000)
    assert np.ptp(scores, axis=0).max() > 0.01  # The pictures are told apart.
    np.testing.assert_allclose(predict(network, pixels), scores, atol=1e-5)
