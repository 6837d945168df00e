"""Warm-up requests: messages and images that TensorFlow Serving can read, of limited size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from training.savedmodel import save_model
from training.warmup_records import IMAGES, MAX_BYTES, WARMUP_PATH, save_warmup

from .prediction_log import PredictionLog, read_logs, read_records
from .serving_session import ServingSession

HEIGHT, WIDTH = 8, 12
GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (3, HEIGHT, WIDTH, 3)).astype(np.uint8)


def noise(kind: str = "PNG", height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Return an image of noise, which no format compresses."""
    out = io.BytesIO()
    Image.fromarray(GENERATOR.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel of a small classifier."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    network = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs)))
    home = tmp_path_factory.mktemp("version")
    save_model(network, home, ("no", "yes"), HEIGHT, WIDTH)
    return home


@pytest.fixture(scope="module")
def loaded(version: Path) -> Any:
    return tf.saved_model.load(str(version))


def to_predict(signature: str, name: str, values: Sequence[bytes] | NDArray[np.uint8]) -> Any:
    """Return the log of a predict request, written by protobuf itself."""
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs[name].MergeFromString(tf.make_tensor_proto(values).SerializeToString())
    return log


def to_classify(encoded: bytes) -> Any:
    """Return the log of a request to classify an image, written by protobuf itself."""
    log = PredictionLog()
    request = log.classify_log.request
    request.model_spec.signature_name = "classify_images"
    added = request.input.example_list.examples.add()
    added.features.feature["image_bytes"].bytes_list.value.append(encoded)
    return log


def test_requests_of_each_signature_have_the_smallest_images(tmp_path: Path, loaded: Any) -> None:
    images = [noise(height=4 + size) for size in (5, 1, 4, 2, 3, 6)]
    ascending = sorted(images, key=len)
    assert IMAGES == 4
    save_warmup(tmp_path, loaded, images, PIXELS)
    expected = [
        to_predict("pixels", "pixels", PIXELS[:1]),
        to_classify(ascending[0]),
        *(to_predict("serving_default", "image_bytes", [encoded]) for encoded in ascending[:4]),
        to_predict("serving_default", "image_bytes", ascending[:4]),
    ]
    written = [log.SerializeToString(deterministic=True) for log in expected]
    assert sorted(read_records(tmp_path)) == sorted(written)
    assert sorted(map(str, read_logs(tmp_path))) == sorted(map(str, expected))


def test_a_session_runs_all_records(tmp_path: Path, version: Path, loaded: Any) -> None:
    # More than 127 and more than 16,383 bytes: lengths that take one, two and three bytes.
    images = [noise("PNG", 2, 2), noise("JPEG"), noise("PNG", 90, 90)]
    assert [len(encoded) < 128 for encoded in sorted(images, key=len)] == [True, False, False]
    assert max(map(len, images)) > 2**14
    save_warmup(tmp_path, loaded, images, PIXELS)
    with ServingSession(version) as session:
        used = session.warm_up(tmp_path)
    assert sorted(used) == ["classify_images", "pixels", *["serving_default"] * 4]


def test_an_image_that_tensorflow_may_not_decode_is_left_out(tmp_path: Path, version: Path, loaded: Any) -> None:
    readable = noise("JPEG")
    others = [noise("WEBP", 2, 2), noise("TIFF", 2, 2), noise("PNG")[:80]]
    save_warmup(tmp_path, loaded, [*others, readable], PIXELS)
    with ServingSession(version) as session:
        assert sorted(session.warm_up(tmp_path)) == ["classify_images", "pixels", "serving_default"]
    (request,) = [
        log for log in read_logs(tmp_path) if log.predict_log.request.model_spec.signature_name[:7] == "serving"
    ]
    assert request == to_predict("serving_default", "image_bytes", [readable])


def test_without_decodable_images_only_pixels_remain(tmp_path: Path, loaded: Any) -> None:
    save_warmup(tmp_path, loaded, [noise("WEBP")], PIXELS)
    assert read_logs(tmp_path) == [to_predict("pixels", "pixels", PIXELS[:1])]


def test_large_images_are_left_out(tmp_path: Path, loaded: Any) -> None:
    small = noise()
    large = [noise(height=400, width=400) for _ in range(3)]  # Half a megabyte each.
    assert 3 * len(large[0]) > MAX_BYTES > len(large[0]) > MAX_BYTES // 3
    save_warmup(tmp_path, loaded, [*large, small], PIXELS)
    assert (tmp_path / WARMUP_PATH).stat().st_size < MAX_BYTES + 1000
    singles = [to_predict("serving_default", "image_bytes", [encoded]) for encoded in (small, large[0], large[1])]
    logs = read_logs(tmp_path)
    assert sum(log in singles for log in logs) == len(logs) - 2 == 3
    assert to_classify(small) in logs
