"""A small network, and files of its weights in the formats of Keras 2 and 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from training import model as classifier
from training.errors import WeightsError

HEIGHT, WIDTH, CLASSES = 8, 12, 3

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (6, HEIGHT, WIDTH, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
INPUTS = classifier.scale(PIXELS)


@keras.saving.register_keras_serializable("tests")
class Gain(keras.layers.Layer):
    """A custom layer, with a weight and a setting."""

    def __init__(self, first: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.first = first

    def build(self, shape: tuple[int, ...]) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(self.first))

    def call(self, inputs: Any) -> Any:
        return keras.ops.tanh(inputs * self.gain)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "first": self.first}


def network(layer: type[Gain] = Gain, classes: int = CLASSES, seed: int = 0, steps: int = 3) -> keras.Model:
    """Return a small classifier with a custom layer, trained for a few steps."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    features = keras.layers.Conv2D(4, 3)(inputs)
    features = keras.layers.BatchNormalization(momentum=0.5)(features)
    features = layer(2.5)(features)
    features = keras.layers.Flatten()(features)
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(features))
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", jit_compile=False)
    for _ in range(steps):
        model.train_on_batch(INPUTS, LABELS % classes)
    return model


def legacy_weights(model: keras.Model, path: Path) -> Path:
    """Write weights in the format of Keras 2."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def new_weights(model: keras.Model, path: Path) -> Path:
    """Write weights in the format of Keras 3 to a path with any suffix."""
    file = path.with_name("file.weights.h5")
    model.save_weights(file)
    return file.replace(path)


def one_line(error: pytest.ExceptionInfo[WeightsError], path: Path) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")
