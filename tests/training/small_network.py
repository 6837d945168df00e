"""A small network that trains quickly, for tests that do not depend on the network.

`python -m tests.training.small_network ARGUMENTS` is `python -m training ARGUMENTS` with this network instead of
Xception, and with a pause before each batch, so that signals arrive during an epoch.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import keras

import training.train
from training import model
from training.__main__ import main
from training.augment import augment

PAUSE_S = 0.2
"""Seconds before each batch."""


def build(size: int, classes: int, weights: str | None, seed: int) -> keras.Model:
    """Build a classifier with the state that a resumed run must restore: batch normalization and dropout."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3))
    features = keras.layers.AveragePooling2D(8)(inputs)
    features = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3)(features))
    features = keras.layers.Dropout(0.2, seed=seed)(keras.layers.Flatten()(features))
    network = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(features))
    if weights:
        model.load_weights(network, weights)
    return network


def augment_slowly(*arguments: Any, **options: Any) -> Any:
    """Pause, then augment."""
    time.sleep(PAUSE_S)
    return augment(*arguments, **options)


train = partial(training.train.train, build=build)

if __name__ == "__main__":
    training.train.train = train  # type: ignore[assignment]
    training.train.augment = augment_slowly
    sys.exit(main())
