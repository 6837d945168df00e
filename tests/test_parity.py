"""Keras, the SavedModel and all engines over HTTP give the same scores and the same accuracy."""

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
"""Maximum difference of scores if all paths decode to the same pixels, as for a PNG that is only enlarged."""

OTHER_DECODER = 0.02
"""The same between TensorFlow's and Pillow's decoding of digits: pixels differ by one level."""

PHOTOGRAPH = 0.2
"""The same for a JPEG that is decoded in another way or at a reduced scale: pixels differ by a few levels, and a digits
model is sensitive to small changes of a landscape."""

ACCURACY_LOSS = {"fp32": 0.005, "bf16": 0.01, "int8": 0.01 if "int8" in native_precisions() else 0.03}
"""Maximum loss of top-1 accuracy; int8 products saturate on CPUs without VNNI."""

KERAS = """
import sys, numpy as np, keras, tensorflow as tf
from pathlib import Path
from training.images import decode
from training.model import scale
package, out, *images = map(Path, sys.argv[1:])
encoded = [path.read_bytes() for path in images]
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
def images(xception_golden: list[Path]) -> list[Path]:
    """Held-out digits, and two photographs, on which a model of digits is undecided."""
    photographs = Path(sklearn.datasets.__file__).parent / "images"
    return [*xception_golden, photographs / "china.jpg", photographs / "flower.jpg"]


@pytest.fixture(scope="module")
def scores(xception_package: Path, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Scores of the images through Keras and through both signatures, `[n, 10]` each."""
    out = tmp_path_factory.mktemp("scores") / "scores.npz"
    command = [sys.executable, "-c", KERAS, str(xception_package), str(out), *map(str, images)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(out)


def over_http(server: Server, images: list[bytes]) -> NDArray[np.float64]:
    instances = [{"b64": b64encode(data).decode()} for data in images]
    response = server.client.post("/v1/models/xception:predict", content=json.dumps({"instances": instances}))
    assert response.status_code == 200, response.text
    return np.array(response.json()["predictions"])


def test_both_signatures_agree_with_keras(scores: Any) -> None:
    np.testing.assert_allclose(scores["pixels"], scores["keras"], atol=SAME_PIXELS)
    np.testing.assert_allclose(scores["image_bytes"][:10], scores["keras"][:10], atol=OTHER_DECODER)
    np.testing.assert_allclose(scores["image_bytes"], scores["keras"], atol=PHOTOGRAPH)


@pytest.mark.parametrize("engine", ["xception_server", "tensorflow_server"])
def test_every_engine_over_http_agrees_with_keras(
    engine: str, request: pytest.FixtureRequest, scores: Any, images: list[Path]
) -> None:
    server: Server = request.getfixturevalue(engine)
    ours = over_http(server, [path.read_bytes() for path in images])
    np.testing.assert_allclose(ours[:10], scores["keras"][:10], atol=SAME_PIXELS)
    np.testing.assert_allclose(ours, scores["keras"], atol=PHOTOGRAPH)


@pytest.mark.parametrize("engine", ["xception_server", "tensorflow_server"])
def test_accuracy_over_http_is_the_reported_accuracy(
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


def test_the_manifest_has_the_measured_accuracies(xception_package: Path, evaluation: dict[str, Any]) -> None:
    manifest = verify_folder(xception_package).manifest
    assert manifest.evaluation is not None
    assert manifest.evaluation.accuracy == pytest.approx(evaluation["accuracy"])
    measured = {variant.name: variant.accuracy for variant in manifest.variants}
    assert list(measured) == ["openvino/fp32", "openvino/bf16", "openvino/int8", "tensorflow/fp32", "tensorflow/bf16"]
    for name, accuracy in measured.items():
        if "bf16" in name and accuracy is None:
            continue  # Packaged on a machine that does not compute in it.
        assert accuracy == pytest.approx(evaluation["accuracy"], abs=ACCURACY_LOSS[name.partition("/")[2]])
