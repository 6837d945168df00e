"""Classifiers of the digits 0 and 1 that need no training."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from training.data import load
from training.train import predict

SAME_PIXELS = 1e-3
"""Maximum difference between scores of a packaged model and of Keras for the same pixels."""

HEIGHT, WIDTH = 32, 48


def fit_head(network: keras.Model, features: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Set the last layer of a network with random features by ridge regression, to separate two classes."""
    mean = features.mean(axis=0)
    centred = features - mean
    products = centred @ centred.T
    weight = centred.T @ np.linalg.solve(
        products + 0.01 * np.trace(products) / len(products) * np.eye(len(products)), np.where(labels == 1, 2.0, -2.0)
    )
    kernel = np.stack([-weight, weight], axis=1)
    network.layers[-1].set_weights([kernel, -mean @ kernel])


def small_network(images: Path) -> keras.Model:
    """Return a small classifier of the digits 0 and 1; its height and width differ."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    features = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
    dataset = load(str(images))
    fit_head(
        network,
        predict(keras.Model(inputs, features), dataset.pixels(HEIGHT, WIDTH)).astype(np.float64),
        dataset.labels,
    )
    return network
