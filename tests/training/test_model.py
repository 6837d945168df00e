"""Saved models and weights of all formats are loaded; other files are rejected with a message of one line."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import model as classifier
from training import savedmodel
from training.errors import WeightsError

from .network_files import (
    CLASSES,
    HEIGHT,
    INPUTS,
    LABELS,
    PIXELS,
    WIDTH,
    Gain,
    legacy_weights,
    network,
    new_weights,
    one_line,
)


class UnknownGain(Gain):
    """The same layer, but not registered."""


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return network()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_is_loaded_and_training_continues(tmp_path: Path, suffix: str) -> None:
    before = network()
    path = tmp_path / f"model{suffix}"
    before.save(path)
    after = classifier.load(path)
    assert {type(layer) for layer in after.layers} >= {Gain}
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), before.predict_on_batch(INPUTS), atol=1e-6)
    assert int(after.optimizer.iterations) == 3
    # The moments of Adam are loaded too: without them the next step would differ.
    losses = [float(model.train_on_batch(INPUTS, LABELS)) for model in (before, after)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert int(after.optimizer.iterations) == 4
    for mine, yours in zip(after.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_optimizer_is_optional(trained: keras.Model, tmp_path: Path, suffix: str) -> None:
    trained.save(tmp_path / f"model{suffix}")
    after = classifier.load(tmp_path / f"model{suffix}", with_optimizer=False)
    assert not after.compiled
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), trained.predict_on_batch(INPUTS), atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_unregistered_layers_are_passed_or_named_in_the_error(tmp_path: Path, suffix: str) -> None:
    before = network(UnknownGain, steps=1)
    path = tmp_path / f"model{suffix}"
    before.save(path)
    with pytest.raises(WeightsError) as error:
        classifier.load(path)
    assert "'UnknownGain'" in one_line(error, path)
    after = classifier.load(path, {"UnknownGain": UnknownGain})
    assert int(after.optimizer.iterations) == 1
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), before.predict_on_batch(INPUTS), atol=1e-6)


def test_a_savedmodel_of_keras_is_loaded(trained: keras.Model, tmp_path: Path) -> None:
    trained.export(tmp_path / "exported", verbose=False)
    after = classifier.load(tmp_path / "exported")
    assert after.input_shape == (None, HEIGHT, WIDTH, 3)
    assert after.output_shape == (None, CLASSES)
    np.testing.assert_allclose(after.predict_on_batch(INPUTS), trained.predict_on_batch(INPUTS), atol=1e-5)


def test_a_savedmodel_of_this_project_is_loaded(trained: keras.Model, tmp_path: Path) -> None:
    savedmodel.save_model(trained, tmp_path / "saved", ("a", "b", "c"), HEIGHT, WIDTH)
    after = classifier.load(tmp_path / "saved")
    assert after.input_shape == (None, HEIGHT, WIDTH, 3)
    assert after.inputs[0].dtype == "uint8"  # It scales pixels itself.
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
    """Return files and folders that are not a valid model, by their defect."""
    model = network(steps=0)
    model.save(folder / "whole.keras")
    model.save(folder / "whole.h5")
    paths = {
        "missing": folder / "missing.keras",
        "text": folder / "text.txt",
        "text named .h5": folder / "text.h5",
        "text named .keras": folder / "text.keras",
        "empty": folder / "empty.keras",
        "another zip": folder / "zip.keras",
        "cut off .keras": folder / "cut.keras",
        "cut off .h5": folder / "cut.h5",
        "weights": legacy_weights(model, folder / "weights.h5"),
        "weights of Keras 3": new_weights(model, folder / "new.h5"),
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
        ("missing", "no such file or folder"),
        ("text", "cannot be read as a model: File format not supported"),
        ("text named .h5", "cannot be read as a model: "),
        ("text named .keras", "cannot be read as a model: "),
        ("empty", "cannot be read as a model: "),
        ("another zip", "cannot be read as a model: "),
        ("cut off .keras", "cannot be read as a model: "),
        ("cut off .h5", "cannot be read as a model: "),
        ("weights", "cannot be read as a model: No model config found"),
        ("weights of Keras 3", "cannot be read as a model: No model config found"),
        ("empty folder", "has no saved_model.pb, so it is not a SavedModel"),
        ("broken SavedModel", "cannot be read as a model: "),
        ("other signature", "has no signature pixels, serve or serving_default"),
        ("two inputs", "its signature serving_default has 2 inputs; exactly one is needed"),
    ],
)
def test_invalid_models_are_rejected_with_one_line(broken: dict[str, Path], name: str, reason: str) -> None:
    with pytest.raises(WeightsError) as error:
        classifier.load(broken[name])
    text = one_line(error, broken[name])
    assert text.startswith(reason)
    assert not text.endswith(": ")  # Keras' message follows.


WRITERS: dict[str, Callable[[keras.Model, Path], object]] = {
    "new.weights.h5": new_weights,
    "new.h5": new_weights,
    "legacy.h5": legacy_weights,
    "legacy.weights.h5": legacy_weights,
    "model.h5": lambda model, path: model.save(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_weights_of_all_formats_are_loaded(trained: keras.Model, tmp_path: Path, name: str) -> None:
    WRITERS[name](trained, tmp_path / name)
    other = network(seed=1, steps=0)
    assert np.abs(other.predict_on_batch(INPUTS) - trained.predict_on_batch(INPUTS)).max() > 0.01
    classifier.load_weights(other, tmp_path / name)
    np.testing.assert_allclose(other.predict_on_batch(INPUTS), trained.predict_on_batch(INPUTS), atol=1e-6)
    for mine, yours in zip(other.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("name", WRITERS)
def test_weights_of_another_network_are_rejected(tmp_path: Path, name: str) -> None:
    WRITERS[name](network(classes=CLASSES + 1, steps=0), tmp_path / name)
    with pytest.raises(WeightsError) as error:
        classifier.load_weights(network(steps=0), str(tmp_path / name))
    text = one_line(error, tmp_path / name)
    assert text.startswith("not the weights of this network: ")
    assert "shape" in text.lower()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such file"),
        ("empty folder", "no such file"),
        ("text named .h5", "not the weights of this network: "),
        ("cut off .h5", "not the weights of this network: "),
    ],
)
def test_files_without_weights_are_rejected(
    trained: keras.Model, broken: dict[str, Path], name: str, reason: str
) -> None:
    with pytest.raises(WeightsError) as error:
        classifier.load_weights(trained, broken[name])
    assert one_line(error, broken[name]).startswith(reason)
