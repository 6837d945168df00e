"""The classifier: Keras' Xception with a new head; reading of saved models and weights."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .errors import WeightsError

MEAN = SCALE = 127.5
"""`(pixel - 127.5) / 127.5`, as in `keras.applications.xception.preprocess_input`."""

MOMENTUM = 0.9
"""Momentum of batch normalization. With Keras' 0.99 a small data set stays at chance level for hundreds of steps."""

DROPOUT = 0.2

_DOWNLOAD_TIMEOUT_S = 8
"""Seconds without data after which a download fails."""

_SIGNATURES = ("pixels", "serve", "serving_default")
"""Signatures of a SavedModel to use, in order of preference."""


def scale(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels as the network expects them, `float32` from -1 to 1."""
    return (pixels.astype(np.float32) - MEAN) / SCALE


def build(size: int, classes: int, weights: str | None, seed: int) -> keras.Model:
    """Build Xception for images of size × size pixels.

    Args:
        size: Height and width in pixels, at least 71.
        classes: The number of classes.
        weights: `imagenet`, or a file of pretrained weights; None for random initial weights.
        seed: The seed of the initial weights and of dropout.

    Raises:
        WeightsError: The weights are not available, or do not fit.
    """
    keras.utils.set_random_seed(seed)
    backbone = keras.applications.Xception(
        weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg", name="xception"
    )
    if weights:
        load_backbone(backbone, weights)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    features = keras.layers.Dropout(DROPOUT, seed=seed, name="dropout")(backbone.output)
    scores = keras.layers.Dense(classes, activation="softmax", name="scores")(features)
    return keras.Model(backbone.input, scores, name="classifier")


def load_backbone(backbone: keras.Model, weights: str) -> None:
    """Load ImageNet weights, with or without the top layer, into a network without top layer.

    Raises:
        WeightsError: The weights are not available, or do not fit.
    """
    if weights == "imagenet":
        source = imagenet(include_top=False)
    else:
        source = keras.applications.Xception(weights=None, include_top=False, input_shape=(299, 299, 3), pooling="avg")
        try:
            load_weights(source, weights)
        except WeightsError:
            whole = keras.applications.Xception(weights=None)
            load_weights(whole, weights)
            source = keras.Model(whole.input, whole.layers[-2].output)
    backbone.set_weights(source.get_weights())


def imagenet(*, include_top: bool) -> keras.Model:
    """Return Keras' ImageNet Xception; download its weights unless Keras has them cached.

    Raises:
        WeightsError: The download failed.
    """
    try:
        with _socket_timeout():
            return keras.applications.Xception(
                weights="imagenet", include_top=include_top, pooling=None if include_top else "avg"
            )
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        reason = str(error).splitlines()[-1][:200]
        raise WeightsError(
            f"the ImageNet weights could not be downloaded ({reason}). Get Keras' file "
            "xception_weights_tf_dim_ordering_tf_kernels.h5 on a machine with access, and use it: "
            "--weights FILE.h5, or make serve WEIGHTS=FILE.h5"
        ) from error


@contextlib.contextmanager
def _socket_timeout() -> Iterator[None]:
    """Set a default timeout for sockets, because Keras' downloads have none."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Load a file of weights into a model: `.weights.h5` of Keras 3, or `.h5` of Keras 2.

    Raises:
        WeightsError: The file does not exist, or belongs to another network.
    """
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        import h5py

        with h5py.File(path) as file:
            legacy = "layer_names" in file.attrs or "model_weights" in file
            if legacy:
                from keras.src.legacy.saving import legacy_h5_format

                legacy_h5_format.load_weights_from_hdf5_group(file.get("model_weights", file), model)
                return
        with tempfile.TemporaryDirectory() as home:
            # Keras decides by the suffix, so give the file the right one.
            link = Path(home) / "model.weights.h5"
            link.symlink_to(Path(path).resolve())
            model.load_weights(link)
    except Exception as error:  # h5py and Keras raise many kinds of errors for unsuitable files.
        raise WeightsError(f"{path}: not the weights of this network: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the relevant line of Keras' message, which may follow pages of configuration."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    inner = [line for line in lines if line.startswith("Exception encountered: ")]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return (inner[-1] if inner else first).removeprefix("Exception encountered: ")[:300]


def load(
    path: str | Path, custom_objects: Mapping[str, Any] | None = None, *, with_optimizer: bool = True
) -> keras.Model:
    """Read a saved model: `.keras`, a whole-model `.h5`, or a SavedModel folder.

    Compiled models in `.keras` and H5 files include the optimizer and its state. A SavedModel is a graph: it is
    loaded as a model with one layer that can predict, but not be trained or split into layers.

    Args:
        path: The file or folder.
        custom_objects: Classes of layers by name, unless they are registered with
            `keras.saving.register_keras_serializable`.
        with_optimizer: Load the optimizer; without it a model takes a third of the memory.

    Raises:
        WeightsError: The format is unknown, or the model cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _load_saved_model(path)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file or folder")
        network = keras.models.load_model(path, custom_objects=custom_objects, compile=with_optimizer)
        if with_optimizer:
            _restore_optimizer(network, path)
        return network
    except WeightsError:
        raise
    except Exception as error:  # Keras raises many kinds for files that it cannot read.
        raise WeightsError(f"{path}: cannot be read as a model: {_reason(error)}") from error


def _restore_optimizer(network: keras.Model, path: Path) -> None:
    """Restore the state of the optimizer from an H5 file, which Keras 3.15 fails to do."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    if not h5py.is_hdf5(path):
        return
    with h5py.File(path) as file:
        if "optimizer_weights" not in file or not network.optimizer:
            return
        state = [np.asarray(value) for value in legacy_h5_format.load_optimizer_weights_from_hdf5_group(file)]
    optimizer = type(network.optimizer).from_config(network.optimizer.get_config())
    optimizer.build(network.trainable_variables)
    if [tuple(variable.shape) for variable in optimizer.variables] == [value.shape for value in state]:
        optimizer.set_weights(state)
    network.optimizer = optimizer


def _load_saved_model(path: Path) -> keras.Model:
    if not (path / "saved_model.pb").is_file():
        raise WeightsError(f"{path}: has no saved_model.pb, so it is not a SavedModel")
    import tensorflow as tf

    signatures = tf.saved_model.load(str(path)).signatures
    endpoint = next((name for name in _SIGNATURES if name in signatures), None)
    if endpoint is None:
        raise WeightsError(f"{path}: has no signature {', '.join(_SIGNATURES[:-1])} or {_SIGNATURES[-1]}")
    specs = signatures[endpoint].structured_input_signature[1]
    if len(specs) != 1:
        raise WeightsError(f"{path}: its signature {endpoint} has {len(specs)} inputs; exactly one is needed")
    (spec,) = specs.values()
    layer = keras.layers.TFSMLayer(str(path), call_endpoint=endpoint)
    inputs = keras.Input(spec.shape[1:], dtype=spec.dtype.name)
    outputs = layer(inputs)
    return keras.Model(inputs, next(iter(outputs.values())) if isinstance(outputs, dict) else outputs)
