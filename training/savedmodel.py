"""The SavedModel of a version: one network behind three signatures, for TensorFlow and for TensorFlow Serving.

pixels            uint8 [n, height, width, 3]               → scores
serving_default   encoded pictures, string [n]              → scores
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
"""The feature of an example that holds the encoded picture."""


def save_model(network: keras.Model, folder: Path, classes: Sequence[str], height: int, width: int) -> None:
    """Write a SavedModel with all signatures.

    `serving_default` decodes, resizes and rounds the pictures in the graph, `classify_images` takes them out of the
    examples and does the same. Scores are `float32 [n, classes]`; `classes` names them, `string [n, classes]`.

    Args:
        network: Takes pixels scaled to what it was trained on.
        folder: Where to write; may exist.
        classes: Their names, in the order of the scores.
        height: Pixels that the network takes.
        width: Pixels that the network takes.
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
    # Not the network: of a variable wrapped by Keras a second one is saved, and TensorFlow Serving, which runs the
    # graph in a session, would restore that one and not the one that the functions read.
    module.weights = list(pixels.get_concrete_function().variables)
    named = {"serving_default": serving_default, "pixels": pixels, "classify_images": classify_images}
    for name, function in named.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(folder), signatures=named)
    _name_methods(folder, signatures(classes, height, width))


def signatures(classes: Sequence[str], height: int, width: int) -> dict[str, Signature]:
    """Describe the signatures that `save_model` writes, for the manifest."""
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


def _name_methods(folder: Path, named: dict[str, Signature]) -> None:
    """Mark each signature with the API it answers: saving marks all of them as predict."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
    for name, signature in named.items():
        updater.replace_method_name(name, f"tensorflow/serving/{signature.method}")
    updater.save()
    write_fingerprint(str(folder))  # It holds a hash of the file that was just changed.
