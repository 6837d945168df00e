"""One image, one answer: Keras, the SavedModel and every engine over HTTP agree; so does the accuracy."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from numpy.typing import NDArray

from engines.cpus import native_precisions
from model_store.trust.verify import verify_folder
from tests.server import ROOT, Server

SAME_PIXELS = 1e-3
"""Largest difference of a score where every path decodes to the same pixels, as of a PNG that is only enlarged."""

OTHER_DECODER = 0.02
"""Where TensorFlow's decoder and resize stand beside Pillow's: pixels of a digit differ by a level."""

PHOTOGRAPH = 0.2
"""Where a JPEG is decoded in another way, or at a reduced scale: pixels differ by a few levels, and a model of digits
has no firm opinion of a landscape, so that a little moves its scores a lot."""

ACCURACY_LOSS = {"fp32": 0.005, "bf16": 0.01, "int8": 0.01 if "int8" in native_precisions() else 0.03}
"""How much top-1 a precision may lose; products of int8 saturate where the CPU has no instructions for them."""

KERAS = """
import sys, numpy as np, keras, tensorflow as tf
from pathlib import Path
from training.images import decode
from training.model import scale
package, out, *pictures = map(Path, sys.argv[1:])
encoded = [path.read_bytes() for path in pictures]
network = keras.models.load_model(package / "model.keras")
pixels = np.stack([decode(data, 71, 71) for data in encoded])
loaded = tf.saved_model.load(str(package))
assert set(loaded.signatures) == {"serving_default", "pixels", "classify_images"}
np.savez(
    out,
    keras=network.predict_on_batch(scale(pixels)),
    pixels=loaded.signatures["pixels"](pixels=tf.constant(pixels))["scores"].numpy(),
    image_bytes=loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))["scores"].numpy(),
)
"""


@pytest.fixture(scope="module")
def pictures(xception_golden: list[Path]) -> list[Path]:
    """Held-out digits, and two photographs that no model of digits can be sure about."""
    photographs = Path(sklearn.datasets.__file__).parent / "images"
    return [*xception_golden, photographs / "china.jpg", photographs / "flower.jpg"]


@pytest.fixture(scope="module")
def scores(xception_package: Path, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Scores of the pictures through Keras and through both signatures, `[n, 10]` each."""
    out = tmp_path_factory.mktemp("scores") / "scores.npz"
    command = [sys.executable, "-c", KERAS, str(xception_package), str(out), *map(str, pictures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(out)


def over_http(server: Server, pictures: list[bytes]) -> NDArray[np.float64]:
    instances = [{"b64": b64encode(data).decode()} for data in pictures]
    answer = server.client.post("/v1/models/xception:predict", content=json.dumps({"instances": instances}))
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["predictions"])


def test_both_signatures_agree_with_keras(scores: Any) -> None:
    np.testing.assert_allclose(scores["pixels"], scores["keras"], atol=SAME_PIXELS)
    np.testing.assert_allclose(scores["image_bytes"][:10], scores["keras"][:10], atol=OTHER_DECODER)
    np.testing.assert_allclose(scores["image_bytes"], scores["keras"], atol=PHOTOGRAPH)


@pytest.mark.parametrize("engine", ["xception_server", "tensorflow_server"])
def test_every_engine_over_http_agrees_with_keras(
    engine: str, request: pytest.FixtureRequest, scores: Any, pictures: list[Path]
) -> None:
    server: Server = request.getfixturevalue(engine)
    ours = over_http(server, [path.read_bytes() for path in pictures])
    np.testing.assert_allclose(ours[:10], scores["keras"][:10], atol=SAME_PIXELS)
    np.testing.assert_allclose(ours, scores["keras"], atol=PHOTOGRAPH)


@pytest.mark.parametrize("engine", ["xception_server", "tensorflow_server"])
def test_held_out_digits_over_the_wire_reach_the_reported_accuracy(
    engine: str, request: pytest.FixtureRequest, digits_run: Path, evaluation: dict[str, Any]
) -> None:
    from training.run import Run

    server: Server = request.getfixturevalue(engine)
    held_out = Run(digits_run).split().held_out
    assert len(held_out) == evaluation["examples"] == 359
    assert evaluation["accuracy"] >= 0.95
    predicted: list[int] = []
    for at in range(0, len(held_out), 60):
        predicted.extend(over_http(server, list(held_out.images[at : at + 60])).argmax(axis=1).tolist())
    assert (np.array(predicted) == held_out.labels).mean() == pytest.approx(evaluation["accuracy"], abs=1e-9)


def test_the_manifest_tells_what_was_measured(xception_package: Path, evaluation: dict[str, Any]) -> None:
    manifest = verify_folder(xception_package).manifest
    assert manifest.evaluation is not None
    assert manifest.evaluation.accuracy == pytest.approx(evaluation["accuracy"])
    measured = {variant.name: variant.accuracy for variant in manifest.variants}
    assert list(measured) == ["openvino/fp32", "openvino/bf16", "openvino/int8", "tensorflow/fp32", "tensorflow/bf16"]
    for name, accuracy in measured.items():
        if "bf16" in name and accuracy is None:
            continue  # Packaged on a machine that does not compute in it.
        assert accuracy == pytest.approx(evaluation["accuracy"], abs=ACCURACY_LOSS[name.partition("/")[2]])
