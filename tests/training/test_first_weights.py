"""Initial weights: files of any format, ImageNet, or random ones from a seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.server import ROOT
from training import model as classifier
from training.errors import WeightsError

from .network_files import legacy_weights, network, new_weights, one_line


class Backbone:
    """Files of weights of Xception at its usual size, and their weights below the top layer."""

    def __init__(self, folder: Path) -> None:
        generator = np.random.default_rng(1)
        whole = keras.applications.Xception(weights=None)
        # Also change the statistics of batch normalization, which are the same in every new network.
        whole.set_weights(
            [weight + generator.random(weight.shape, np.float32) * 0.01 for weight in whole.get_weights()]
        )
        bare = keras.applications.Xception(weights=None, include_top=False, input_shape=(299, 299, 3), pooling="avg")
        self.weights = whole.get_weights()[:-2]
        bare.set_weights(self.weights)
        # That each layout can be read with a top and without one, any network shows: see test_model.
        self.files = {
            "with top, legacy": legacy_weights(whole, folder / "top.h5"),
            "without top": new_weights(bare, folder / "bare.weights.h5"),
        }


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    folder = tmp_path_factory.mktemp("backbone")
    yield Backbone(folder)
    shutil.rmtree(folder)  # 170 MB


@pytest.mark.parametrize("kind", ["with top, legacy", "without top"])
def test_training_starts_from_weights_with_and_without_top(backbone: Backbone, kind: str) -> None:
    model = classifier.build(71, 5, str(backbone.files[kind]), seed=0)
    assert model.input_shape == (None, 71, 71, 3)
    assert model.output_shape == (None, 5)
    *below, kernel, _ = model.get_weights()
    for mine, yours in zip(below, backbone.weights, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert kernel.shape == (2048, 5)
    assert kernel.std() > 0.005  # The head is new.


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    path = legacy_weights(network(steps=0), tmp_path / "other.h5")
    with pytest.raises(WeightsError) as error:
        classifier.build(71, 5, str(path), seed=0)
    assert "not the weights of this network" in one_line(error, path)


def test_the_seed_determines_the_initial_weights() -> None:
    one, same, other = (classifier.build(71, 2, None, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(mine, yours) for mine, yours in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_statistics_follow_few_steps() -> None:
    layers = classifier.build(71, 2, None, seed=0).layers
    momenta = {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {classifier.MOMENTUM}


def test_a_failed_download_says_what_to_do(tmp_path: Path) -> None:
    """A proxy address that refuses connections simulates a missing network on any machine."""
    nowhere = "http://127.0.0.1:9"
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    environment = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    environment.update(https_proxy=nowhere, HTTPS_PROXY=nowhere, KERAS_HOME=str(tmp_path / "keras"))
    command = [sys.executable, "-m", "training", "package-imagenet", "--output", str(tmp_path / "package")]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert time.monotonic() - started < 60  # Most of it is the import of Keras.
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("python -m training: ")]
    assert "the ImageNet weights could not be downloaded (" in line
    assert "Connection refused" in line
    assert "--weights FILE.h5" in line
    assert not [path for path in tmp_path.iterdir() if path.name != "keras"]
