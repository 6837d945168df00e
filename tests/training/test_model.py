"""Saved models and weights of every kind come back as they were; what is none is refused in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

from tests.server import ROOT
from training import model as classifier
from training import savedmodel
from training.errors import WeightsError

HEIGHT, WIDTH, CLASSES = 8, 12, 3

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (6, HEIGHT, WIDTH, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
INPUTS = classifier.scale(PIXELS)


@keras.saving.register_keras_serializable("tests")
class Gain(keras.layers.Layer):
    """A layer of one's own, with a weight and a setting."""

    def __init__(self, first: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.first = first

    def build(self, shape: tuple[int, ...]) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(self.first))

    def call(self, inputs: Any) -> Any:
        return keras.ops.tanh(inputs * self.gain)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "first": self.first}


class UnknownGain(Gain):
    """The same, but not registered anywhere."""


def network(layer: type[Gain] = Gain, classes: int = CLASSES, seed: int = 0, steps: int = 3) -> keras.Model:
    """A small classifier with a layer of one's own, trained for a few steps."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    features = keras.layers.Conv2D(4, 3)(inputs)
    features = keras.layers.BatchNormalization(momentum=0.5)(features)
    features = layer(2.5)(features)
    features = keras.layers.Flatten()(features)
    made = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(features))
    made.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", jit_compile=False)
    for _ in range(steps):
        made.train_on_batch(INPUTS, LABELS % classes)
    return made


def legacy_weights(model: keras.Model, path: Path) -> Path:
    """Write weights as Keras 2 did."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def new_weights(model: keras.Model, path: Path) -> Path:
    """Write weights as Keras 3 does, whatever the name."""
    named = path.with_name("named.weights.h5")
    model.save_weights(named)
    return named.replace(path)


def one_line(error: pytest.ExceptionInfo[WeightsError], path: Path) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return network()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_comes_back_and_training_goes_on(tmp_path: Path, suffix: str) -> None:
    before = network()
    path = tmp_path / f"model{suffix}"
    before.save(path)
    after = classifier.load(path)
    assert {type(layer) for layer in after.layers} >= {Gain}
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), before.predict_on_batch(INPUTS), atol=1e-6)
    assert int(after.optimizer.iterations) == 3
    # The moments of Adam came along too: without them the next step would be another one.
    losses = [float(model.train_on_batch(INPUTS, LABELS)) for model in (before, after)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert int(after.optimizer.iterations) == 4
    for mine, yours in zip(after.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_optimizer_stays_behind_where_nothing_is_trained(trained: keras.Model, tmp_path: Path, suffix: str) -> None:
    trained.save(tmp_path / f"model{suffix}")
    after = classifier.load(tmp_path / f"model{suffix}", to_train=False)
    assert not after.compiled
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), trained.predict_on_batch(INPUTS), atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_layers_that_are_not_registered_are_given_or_named(tmp_path: Path, suffix: str) -> None:
    before = network(UnknownGain, steps=1)
    path = tmp_path / f"model{suffix}"
    before.save(path)
    with pytest.raises(WeightsError) as error:
        classifier.load(path)
    assert "'UnknownGain'" in one_line(error, path)
    after = classifier.load(path, {"UnknownGain": UnknownGain})
    assert int(after.optimizer.iterations) == 1
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), before.predict_on_batch(INPUTS), atol=1e-6)


def test_a_saved_model_of_keras_comes_back(trained: keras.Model, tmp_path: Path) -> None:
    trained.export(tmp_path / "exported", verbose=False)
    after = classifier.load(tmp_path / "exported")
    assert after.input_shape == (None, HEIGHT, WIDTH, 3)
    assert after.output_shape == (None, CLASSES)
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), trained.predict_on_batch(INPUTS), atol=1e-5)


def test_a_saved_model_of_this_project_comes_back(trained: keras.Model, tmp_path: Path) -> None:
    savedmodel.save_model(trained, tmp_path / "saved", ("a", "b", "c"), HEIGHT, WIDTH)
    after = classifier.load(tmp_path / "saved")
    assert after.input_shape == (None, HEIGHT, WIDTH, 3)
    assert after.inputs[0].dtype == "uint8"  # It takes pixels as they are and scales them itself.
    np.testing.assert_allclose(after.predict_on_batch(PIXELS), trained.predict_on_batch(INPUTS), atol=1e-5)


def signatures(folder: Path, **named: Callable[..., Any]) -> None:
    module = tf.Module()
    module.kept = list(named.values())
    tf.saved_model.save(module, str(folder), signatures=named)


def of_floats(count: int) -> Callable[..., Any]:
    names = "ab"[:count]

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name) for name in names])
    def total(*inputs: Any) -> dict[str, Any]:
        return {"total": tf.add_n(inputs)}

    return total


def broken_files(folder: Path) -> dict[str, Path]:
    """Files and folders that are no model, by what is the matter with them."""
    made = network(steps=0)
    made.save(folder / "whole.keras")
    made.save(folder / "whole.h5")
    paths = {
        "missing": folder / "missing.keras",
        "text": folder / "text.txt",
        "text named .h5": folder / "text.h5",
        "text named .keras": folder / "text.keras",
        "empty": folder / "empty.keras",
        "another zip": folder / "zip.keras",
        "cut off .keras": folder / "cut.keras",
        "cut off .h5": folder / "cut.h5",
        "weights": legacy_weights(made, folder / "weights.h5"),
        "weights of Keras 3": new_weights(made, folder / "new.h5"),
        "empty folder": folder / "nothing",
        "broken SavedModel": folder / "broken",
        "other signature": folder / "other",
        "two inputs": folder / "two",
    }
    for name in ("text", "text named .h5", "text named .keras"):
        paths[name].write_text("no model\n")
    paths["empty"].write_bytes(b"")
    with zipfile.ZipFile(paths["another zip"], "w") as file:
        file.writestr("readme.txt", "no model")
    for suffix in (".keras", ".h5"):
        whole = (folder / f"whole{suffix}").read_bytes()
        paths[f"cut off {suffix}"].write_bytes(whole[: len(whole) // 2])
    paths["empty folder"].mkdir()
    paths["broken SavedModel"].mkdir()
    (paths["broken SavedModel"] / "saved_model.pb").write_bytes(b"no model")
    signatures(paths["other signature"], sum=of_floats(1))
    signatures(paths["two inputs"], serving_default=of_floats(2))
    return paths


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return broken_files(tmp_path_factory.mktemp("broken"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "there is no such file or folder"),
        ("text", "cannot be read as a model: File format not supported"),
        ("text named .h5", "cannot be read as a model: "),
        ("text named .keras", "cannot be read as a model: "),
        ("empty", "cannot be read as a model: "),
        ("another zip", "cannot be read as a model: "),
        ("cut off .keras", "cannot be read as a model: "),
        ("cut off .h5", "cannot be read as a model: "),
        ("weights", "cannot be read as a model: No model config found"),
        ("weights of Keras 3", "cannot be read as a model: No model config found"),
        ("empty folder", "holds no saved_model.pb, so it is no SavedModel"),
        ("broken SavedModel", "cannot be read as a model: "),
        ("other signature", "has no signature pixels, serve or serving_default"),
        ("two inputs", "its signature serving_default takes 2 inputs; one is needed"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(broken: dict[str, Path], name: str, reason: str) -> None:
    with pytest.raises(WeightsError) as error:
        classifier.load(broken[name])
    text = one_line(error, broken[name])
    assert text.startswith(reason)
    assert len(text) > len("cannot be read as a model: ")


WRITERS: dict[str, Callable[[keras.Model, Path], object]] = {
    "new.weights.h5": new_weights,
    "new.h5": new_weights,
    "legacy.h5": legacy_weights,
    "legacy.weights.h5": legacy_weights,
    "model.h5": lambda model, path: model.save(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_weights_of_every_layout_are_put_in(trained: keras.Model, tmp_path: Path, name: str) -> None:
    WRITERS[name](trained, tmp_path / name)
    other = network(seed=1, steps=0)
    assert np.abs(other.predict_on_batch(INPUTS) - trained.predict_on_batch(INPUTS)).max() > 0.01
    classifier.load_weights(other, tmp_path / name)
    np.testing.assert_allclose(other.predict_on_batch(INPUTS), trained.predict_on_batch(INPUTS), atol=1e-6)
    for mine, yours in zip(other.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("name", WRITERS)
def test_weights_of_another_network_are_refused(tmp_path: Path, name: str) -> None:
    WRITERS[name](network(classes=CLASSES + 1, steps=0), tmp_path / name)
    with pytest.raises(WeightsError) as error:
        classifier.load_weights(network(steps=0), str(tmp_path / name))
    text = one_line(error, tmp_path / name)
    assert text.startswith("not the weights of this network: ")
    assert "shape" in text.lower()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "there is no such file"),
        ("empty folder", "there is no such file"),
        ("text named .h5", "not the weights of this network: "),
        ("cut off .h5", "not the weights of this network: "),
    ],
)
def test_what_holds_no_weights_is_refused(
    trained: keras.Model, broken: dict[str, Path], name: str, reason: str
) -> None:
    with pytest.raises(WeightsError) as error:
        classifier.load_weights(trained, broken[name])
    assert one_line(error, broken[name]).startswith(reason)


class Backbone:
    """Files of the weights of Xception at its usual size, and what they hold below the top."""

    def __init__(self, folder: Path) -> None:
        generator = np.random.default_rng(1)
        whole = keras.applications.Xception(weights=None)
        # Also the statistics of BatchNormalization, which every new network has alike, must come along.
        whole.set_weights(
            [weight + generator.random(weight.shape, np.float32) * 0.01 for weight in whole.get_weights()]
        )
        bare = keras.applications.Xception(weights=None, include_top=False, input_shape=(299, 299, 3), pooling="avg")
        self.weights = whole.get_weights()[:-2]
        bare.set_weights(self.weights)
        self.files = {
            "with top": new_weights(whole, folder / "top.weights.h5"),
            "with top, legacy": legacy_weights(whole, folder / "top.h5"),
            "without top": new_weights(bare, folder / "bare.weights.h5"),
            "without top, legacy": legacy_weights(bare, folder / "bare.h5"),
        }


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    folder = tmp_path_factory.mktemp("backbone")
    yield Backbone(folder)
    shutil.rmtree(folder)  # 350 MB


@pytest.mark.parametrize("kind", ["with top", "with top, legacy", "without top", "without top, legacy"])
def test_training_starts_from_weights_of_any_layout(backbone: Backbone, kind: str) -> None:
    made = classifier.build(71, 5, str(backbone.files[kind]), seed=0)
    assert made.input_shape == (None, 71, 71, 3)
    assert made.output_shape == (None, 5)
    *below, kernel, _ = made.get_weights()
    for mine, yours in zip(below, backbone.weights, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert kernel.shape == (2048, 5)
    assert kernel.std() > 0.005  # The head is new.


def test_training_starts_from_no_other_weights(tmp_path: Path) -> None:
    path = legacy_weights(network(steps=0), tmp_path / "other.h5")
    with pytest.raises(WeightsError) as error:
        classifier.build(71, 5, str(path), seed=0)
    assert "not the weights of this network" in one_line(error, path)


def test_the_seed_decides_the_first_weights() -> None:
    one, same, other = (classifier.build(71, 2, None, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(mine, yours) for mine, yours in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_a_failed_download_says_what_to_do(tmp_path: Path) -> None:
    """Behind a proxy that nobody listens as, which is as good as no network, everywhere."""
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
