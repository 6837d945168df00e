"""The SavedModel in TensorFlow and in TensorFlow Serving: signatures, their APIs, their scores."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from model_store.trust.manifest import Signature, Tensor
from training.model import scale
from training.savedmodel import save_model, signatures
from training.train import predict

from .serving_session import ServingSession, example

HEIGHT, WIDTH = 8, 12
CLASSES = ("zéro", "un", "deux")
PIXELS = np.random.default_rng(0).integers(0, 256, (4, HEIGHT, WIDTH, 3)).astype(np.uint8)
SAME = 1e-5


def png(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


IMAGES = [png(pixels) for pixels in PIXELS]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A small classifier with trainable and non-trainable weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    features = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    outputs = keras.layers.Dense(len(CLASSES), activation="softmax")(keras.layers.Flatten()(features))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(scale(PIXELS), np.array([0, 1, 2, 0]), epochs=3, verbose=0)
    return model


@pytest.fixture(scope="module")
def folder(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("saved")
    save_model(network, home, CLASSES, HEIGHT, WIDTH)
    return home


@pytest.fixture(scope="module")
def expected(network: keras.Model) -> NDArray[np.float32]:
    scores = predict(network, PIXELS)
    assert np.ptp(scores, axis=0).min() > 0.01  # Scores differ between images.
    return scores


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[ServingSession]:
    with ServingSession(folder) as session:
        yield session


def tensors(found: Any) -> dict[str, Tensor]:
    """Return the tensors of a SignatureDef in the format of the manifest."""
    return {
        name: Tensor(dtype=types_pb2.DataType.Name(info.dtype), shape=tuple(d.size for d in info.tensor_shape.dim))
        for name, info in found.items()
    }


def test_the_signatures_agree_with_the_manifest(folder: Path) -> None:
    (graph,) = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    found = {
        name: Signature(
            inputs=tensors(definition.inputs),
            outputs=tensors(definition.outputs),
            method=definition.method_name.removeprefix("tensorflow/serving/"),
        )
        for name, definition in graph.signature_def.items()
        if not name.startswith("__")
    }
    assert found == signatures(CLASSES, HEIGHT, WIDTH)
    assert {name: signature.method for name, signature in found.items()} == {
        "serving_default": "predict",
        "pixels": "predict",
        "classify_images": "classify",
    }
    assert graph.signature_def["classify_images"].method_name == "tensorflow/serving/classify"
    assert graph.signature_def["serving_default"].method_name == "tensorflow/serving/predict"


def test_the_fingerprint_is_that_of_the_file(folder: Path) -> None:
    from_file = fingerprinting_utils.singleprint_from_saved_model_proto(str(folder))
    assert fingerprinting_utils.singleprint_from_fingerprint_proto(str(folder)) == from_file


def test_tensorflow_gives_the_scores_of_the_network(folder: Path, expected: NDArray[np.float32]) -> None:
    loaded = tf.saved_model.load(str(folder))
    examples = [example(image_bytes=image) for image in IMAGES]
    outputs = {
        "pixels": loaded.signatures["pixels"](pixels=tf.constant(PIXELS)),
        "serving_default": loaded.signatures["serving_default"](image_bytes=tf.constant(IMAGES)),
        "classify_images": loaded.signatures["classify_images"](inputs=tf.constant(examples)),
    }
    for output in outputs.values():
        np.testing.assert_allclose(output["scores"].numpy(), expected, atol=SAME)
    names = outputs["classify_images"]["classes"].numpy()
    assert [[name.decode() for name in row] for row in names] == [list(CLASSES)] * len(IMAGES)


def test_a_session_gives_the_scores_of_the_network(serving: ServingSession, expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(serving.run("pixels", pixels=PIXELS)["scores"], expected, atol=SAME)
    np.testing.assert_allclose(serving.run("serving_default", image_bytes=IMAGES)["scores"], expected, atol=SAME)


@pytest.mark.parametrize("count", [1, 4])
def test_classify_names_each_score(serving: ServingSession, expected: NDArray[np.float32], count: int) -> None:
    results = serving.classify("classify_images", [example(image_bytes=image) for image in IMAGES[:count]])
    assert len(results) == count
    for result, scores in zip(results, expected, strict=False):
        assert [name for name, _ in result] == list(CLASSES)
        np.testing.assert_allclose([score for _, score in result], scores, atol=SAME)


def test_other_features_are_ignored(serving: ServingSession) -> None:
    plain = serving.classify("classify_images", [example(image_bytes=IMAGES[0])])
    assert serving.classify("classify_images", [example(image_bytes=IMAGES[0], note=b"other")]) == plain


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (example(image=IMAGES[0]), "Feature: image_bytes"),
        (b"no example", "Could not parse example input"),
        (example(image_bytes=b"no image"), "Unknown image file format"),
    ],
    ids=["another feature", "no example", "no image"],
)
def test_an_example_without_an_image_is_rejected(serving: ServingSession, wrong: bytes, reason: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        serving.classify("classify_images", [wrong])
