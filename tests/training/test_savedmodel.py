"""The SavedModel as TensorFlow and as TensorFlow Serving load it: signatures, their APIs, their answers."""

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


PICTURES = [png(pixels) for pixels in PIXELS]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A small classifier with weights that are trained and weights that are not."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    features = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    outputs = keras.layers.Dense(len(CLASSES), activation="softmax")(keras.layers.Flatten()(features))
    made = keras.Model(inputs, outputs)
    made.compile("adam", "sparse_categorical_crossentropy")
    made.fit(scale(PIXELS), np.array([0, 1, 2, 0]), epochs=3, verbose=0)
    return made


@pytest.fixture(scope="module")
def folder(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("saved")
    save_model(network, home, CLASSES, HEIGHT, WIDTH)
    return home


@pytest.fixture(scope="module")
def expected(network: keras.Model) -> NDArray[np.float32]:
    scores = predict(network, PIXELS)
    assert np.ptp(scores, axis=0).min() > 0.01  # The pictures are told apart.
    return scores


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[ServingSession]:
    with ServingSession(folder) as session:
        yield session


def tensors(found: Any) -> dict[str, Tensor]:
    """Return the tensors of a SignatureDef as a manifest tells them."""
    return {
        name: Tensor(dtype=types_pb2.DataType.Name(info.dtype), shape=tuple(d.size for d in info.tensor_shape.dim))
        for name, info in found.items()
    }


def test_the_file_holds_the_signatures_that_the_manifest_tells(folder: Path) -> None:
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


def test_plain_tensorflow_answers_as_the_network(folder: Path, expected: NDArray[np.float32]) -> None:
    loaded = tf.saved_model.load(str(folder))
    examples = [example(image_bytes=picture) for picture in PICTURES]
    answers = {
        "pixels": loaded.signatures["pixels"](pixels=tf.constant(PIXELS)),
        "serving_default": loaded.signatures["serving_default"](image_bytes=tf.constant(PICTURES)),
        "classify_images": loaded.signatures["classify_images"](inputs=tf.constant(examples)),
    }
    for answer in answers.values():
        np.testing.assert_allclose(answer["scores"].numpy(), expected, atol=SAME)
    names = answers["classify_images"]["classes"].numpy()
    assert [[name.decode() for name in row] for row in names] == [list(CLASSES)] * len(PICTURES)


def test_a_session_answers_as_the_network(serving: ServingSession, expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(serving.run("pixels", pixels=PIXELS)["scores"], expected, atol=SAME)
    np.testing.assert_allclose(serving.run("serving_default", image_bytes=PICTURES)["scores"], expected, atol=SAME)


@pytest.mark.parametrize("count", [1, 4])
def test_classify_names_each_score(serving: ServingSession, expected: NDArray[np.float32], count: int) -> None:
    results = serving.classify("classify_images", [example(image_bytes=picture) for picture in PICTURES[:count]])
    assert len(results) == count
    for result, scores in zip(results, expected, strict=False):
        assert [name for name, _ in result] == list(CLASSES)
        np.testing.assert_allclose([score for _, score in result], scores, atol=SAME)


def test_features_that_are_not_asked_for_are_ignored(serving: ServingSession) -> None:
    plain = serving.classify("classify_images", [example(image_bytes=PICTURES[0])])
    assert serving.classify("classify_images", [example(image_bytes=PICTURES[0], note=b"other")]) == plain


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (example(image=PICTURES[0]), "Feature: image_bytes"),
        (b"no example", "Could not parse example input"),
        (example(image_bytes=b"no picture"), "Unknown image file format"),
    ],
    ids=["another feature", "no example", "no picture"],
)
def test_an_example_without_a_picture_is_refused(serving: ServingSession, wrong: bytes, reason: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        serving.classify("classify_images", [wrong])
