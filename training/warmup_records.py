"""Warm-up requests, which TensorFlow Serving runs when it loads a version.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of `PredictionLog` messages. They are encoded here, because
the package that declares them depends on a second TensorFlow. All their fields are strings or messages. Field numbers
are those of tensorflow_serving/apis: prediction_log, classification, predict, input and model, each `.proto`.

The requests name no model, so TensorFlow Serving runs them with the version that contains the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .savedmodel import FEATURE

WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
"""Path of the file in the folder of a version, as TensorFlow Serving expects it."""

FORMATS = (b"\x89PNG", b"\xff\xd8")
"""Magic bytes of PNG and JPEG. TensorFlow decodes other formats too, but TensorFlow Serving may be older."""

IMAGES = 4
"""Number of images, in requests of one each and in one request with all: the first requests of a signature are slow."""

MAX_BYTES = 2**20
"""Maximum size of all requests together, so that large images do not bloat a version; smaller ones come first."""


def save_warmup(folder: Path, loaded: Any, images: Sequence[bytes], pixels: NDArray[np.uint8]) -> None:
    """Write the requests into the folder of a version.

    Args:
        folder: The folder of the version.
        loaded: The SavedModel of the version.
        images: Encoded images. Those that TensorFlow cannot decode are left out, because TensorFlow Serving does not
            load a version if one of its requests fails.
        pixels: Images for the signature `pixels`, `uint8 [n, height, width, 3]`.
    """
    path = folder / WARMUP_PATH
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        size = 0
        for record in sorted(_records(loaded, images, pixels), key=len):
            size += len(record)
            if size > MAX_BYTES:
                break
            writer.write(record)


def _records(loaded: Any, images: Sequence[bytes], pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """Yield requests to each signature."""
    yield _predict("pixels", "pixels", pixels[:1])
    chosen = list(islice((image for image in sorted(images, key=len) if _can_decode(loaded, image)), IMAGES))
    if not chosen:
        return
    yield _classify(chosen[:1])
    yield from (_predict("serving_default", "image_bytes", [image]) for image in chosen)
    if len(chosen) > 1:
        yield _predict("serving_default", "image_bytes", chosen)


def _can_decode(loaded: Any, image: bytes) -> bool:
    """Return whether TensorFlow, which is stricter than Pillow, can decode an image."""
    if not image.startswith(FORMATS):
        return False
    try:
        loaded.signatures["serving_default"](image_bytes=tf.constant([image]))
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _predict(signature: str, name: str, values: Any) -> bytes:
    """Encode a request to a predict signature as `PredictionLog.predict_log.request`."""
    tensor = tf.make_tensor_proto(values).SerializeToString(deterministic=True)
    entry = _field(1, name.encode()) + _field(2, tensor)
    return _field(6, _field(1, _model_spec(signature) + _field(2, entry)))


def _classify(images: Sequence[bytes]) -> bytes:
    """Encode a request to the classify signature as `PredictionLog.classify_log.request`."""
    examples = b"".join(_field(1, _example(image)) for image in images)
    return _field(2, _field(1, _model_spec("classify_images") + _field(2, _field(1, examples))))


def _example(image: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    features = tf.train.Features(feature={FEATURE: feature})
    return bytes(tf.train.Example(features=features).SerializeToString(deterministic=True))


def _model_spec(signature: str) -> bytes:
    """Encode the field `model_spec`, number 1 of both requests, with only `signature_name`."""
    return _field(1, _field(3, signature.encode()))


def _field(number: int, content: bytes) -> bytes:
    """Encode a length-delimited field (a message, string or bytes): tag, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Encode an unsigned integer as a varint: seven bits per byte, lowest first, the top bit set if more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
