"""What TensorFlow Serving is asked while it loads a version, so that the first client does not wait for it.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of `PredictionLog` messages. They are few and all their
fields are strings or messages, so they are encoded here: the package that declares them brings a second TensorFlow
along. The numbers of the fields are those of tensorflow_serving/apis: prediction_log, classification, predict, input
and model, each `.proto`.

The requests name no model: at load they are run by the version that the file belongs to, whatever its name.
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
"""Where TensorFlow Serving looks for it in the folder of a version."""

FORMATS = (b"\x89PNG", b"\xff\xd8")
"""How PNG and JPEG begin. TensorFlow decodes more by now, but its Serving may be older."""

PICTURES = 4
"""Pictures asked for, each alone and all at once: it is the first requests to a signature that are slow."""

MAX_BYTES = 2**20
"""Of all requests together, the smallest first; a version is not to grow by large pictures."""


def save_warmup(folder: Path, loaded: Any, pictures: Sequence[bytes], pixels: NDArray[np.uint8]) -> None:
    """Write the requests into the folder of a version.

    Args:
        folder: The version's.
        loaded: Its SavedModel.
        pictures: Encoded; those that TensorFlow may not decode are left out, as its Serving does not load a version
            of which one request fails.
        pixels: Some for the signature `pixels`, `uint8 [n, height, width, 3]`.
    """
    path = folder / WARMUP_PATH
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        size = 0
        for record in sorted(_records(loaded, pictures, pixels), key=len):
            size += len(record)
            if size > MAX_BYTES:
                break
            writer.write(record)


def _records(loaded: Any, pictures: Sequence[bytes], pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """Yield requests to each signature."""
    yield _predict("pixels", "pixels", pixels[:1])
    taken = list(islice((picture for picture in sorted(pictures, key=len) if _is_decoded(loaded, picture)), PICTURES))
    if not taken:
        return
    yield _classify(taken[:1])
    yield from (_predict("serving_default", "image_bytes", [picture]) for picture in taken)
    if len(taken) > 1:
        yield _predict("serving_default", "image_bytes", taken)


def _is_decoded(loaded: Any, picture: bytes) -> bool:
    """Tell whether TensorFlow, which is stricter than Pillow, decodes a picture."""
    if not picture.startswith(FORMATS):
        return False
    try:
        loaded.signatures["serving_default"](image_bytes=tf.constant([picture]))
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _predict(signature: str, name: str, values: Any) -> bytes:
    """Encode a request to a predict signature as `PredictionLog.predict_log.request`."""
    tensor = tf.make_tensor_proto(values).SerializeToString(deterministic=True)
    entry = _field(1, name.encode()) + _field(2, tensor)
    return _field(6, _field(1, _model_spec(signature) + _field(2, entry)))


def _classify(pictures: Sequence[bytes]) -> bytes:
    """Encode a request to the classify signature as `PredictionLog.classify_log.request`."""
    examples = b"".join(_field(1, _example(picture)) for picture in pictures)
    return _field(2, _field(1, _model_spec("classify_images") + _field(2, _field(1, examples))))


def _example(picture: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture]))
    features = tf.train.Features(feature={FEATURE: feature})
    return bytes(tf.train.Example(features=features).SerializeToString(deterministic=True))


def _model_spec(signature: str) -> bytes:
    """Encode the field `model_spec`, the first of either request, with nothing but `signature_name`."""
    return _field(1, _field(3, signature.encode()))


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of a message that is itself a message, a string or bytes: tag, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Encode a number with seven bits a byte, the lowest first; the highest bit tells that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
