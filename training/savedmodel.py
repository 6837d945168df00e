"""The SavedModel of a version, with three signatures, for TensorFlow and TensorFlow Serving.

pixels            uint8 [n, height, width, 3]               → scores
serving_default   encoded images, string [n]                → scores
classify_images   serialized tf.train.Example, string [n]   → classes, scores; TensorFlow Serving's classify
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.saved_model.fingerprinting_utils import write_fingerprint

from model_store.trust.manifest import Signature, Tensor

from .model import MEAN, SCALE

FEATURE = "image_bytes"
"""The feature of an example that contains the encoded image."""


def save_model(network: keras.Model, folder: Path, classes: Sequence[str], height: int, width: int) -> None:
    """Write a SavedModel with all signatures.

    `serving_default` decodes, resizes and rounds the images in the graph; `classify_images` does the same with the
    images of examples. Scores are `float32 [n, classes]`, class names `string [n, classes]`.

    Args:
        network: A network whose input are scaled pixels.
        folder: The folder to write to; may exist.
        classes: The class names, in the order of the scores.
        height: Input height of the network in pixels.
        width: Input width of the network in pixels.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.uint8, "pixels")])  # type: ignore[untyped-decorator]
    def pixels(pixels: Any) -> dict[str, Any]:
        return {"scores": network((tf.cast(pixels, tf.float32) - MEAN) / SCALE, training=False)}

    def decode_one(encoded: Any) -> Any:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        resized = tf.image.resize(image, [height, width], "bilinear", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])  # type: ignore[untyped-decorator]
    def serving_default(image_bytes: Any) -> dict[str, Any]:
        spec = tf.TensorSpec([height, width, 3], tf.uint8)
        return dict(pixels(tf.map_fn(decode_one, image_bytes, fn_output_signature=spec)))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, tf.saved_model.CLASSIFY_INPUTS)])  # type: ignore[untyped-decorator]
    def classify_images(inputs: Any) -> dict[str, Any]:
        examples = tf.io.parse_example(inputs, {FEATURE: tf.io.FixedLenFeature([], tf.string)})
        scores = serving_default(examples[FEATURE])["scores"]
        names = tf.tile(tf.constant([list(classes)]), [tf.shape(scores)[0], 1])
        return {
            tf.saved_model.CLASSIFY_OUTPUT_CLASSES: tf.ensure_shape(names, [None, len(classes)]),
            tf.saved_model.CLASSIFY_OUTPUT_SCORES: scores,
        }

    module = tf.Module()
    # Track the variables, not the network: Keras' wrappers would be saved as second variables, and TensorFlow Serving,
    # which runs the graph in a session, would restore those instead of the ones that the functions read.
    module.weights = list(pixels.get_concrete_function().variables)
    functions = {"serving_default": serving_default, "pixels": pixels, "classify_images": classify_images}
    for name, function in functions.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(folder), signatures=functions)
    _set_method_names(folder, signatures(classes, height, width))


def signatures(classes: Sequence[str], height: int, width: int) -> dict[str, Signature]:
    """Return the signatures that `save_model` writes, for the manifest."""
    strings = Tensor(dtype="DT_STRING", shape=(-1,))
    scores = Tensor(dtype="DT_FLOAT", shape=(-1, len(classes)))
    names = Tensor(dtype="DT_STRING", shape=(-1, len(classes)))
    pixels = Tensor(dtype="DT_UINT8", shape=(-1, height, width, 3))
    return {
        "serving_default": Signature(inputs={"image_bytes": strings}, outputs={"scores": scores}),
        "pixels": Signature(inputs={"pixels": pixels}, outputs={"scores": scores}),
        "classify_images": Signature(
            inputs={"inputs": strings}, outputs={"classes": names, "scores": scores}, method="classify"
        ),
    }


def _set_method_names(folder: Path, described: dict[str, Signature]) -> None:
    """Set the API of each signature; TensorFlow saves all of them as predict."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
    for name, signature in described.items():
        updater.replace_method_name(name, f"tensorflow/serving/{signature.method}")
    updater.save()
    write_fingerprint(str(folder))  # It contains a hash of the file that was just changed.
