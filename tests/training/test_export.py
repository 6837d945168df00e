"""The folder that `export` makes of a run: whole, checked, and it gives the same answers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from model_store.trust.manifest import Evaluation, Manifest
from model_store.trust.verify import unlisted_files, verify_folder
from tests.conftest import Export
from training import model as classifier
from training.images import decode
from training.run import Run
from training.source import from_run
from training.train import predict

from .classifiers import SAME_PIXELS

OTHER_DECODER = 0.05
"""Where TensorFlow decodes a JPEG, whose pixels differ from Pillow's by a few levels."""

DIGITS = tuple(map(str, range(10)))

VARIANTS = ["openvino/fp32", "openvino/bf16", "openvino/int8", "tensorflow/fp32", "tensorflow/bf16"]


@pytest.fixture(scope="module")
def finished(digits_run: Path) -> Run:
    """The run that was packaged."""
    return Run(digits_run)


def test_it_says_what_it_does(export: Export, evaluation: dict[str, Any]) -> None:
    assert "Quantising to int8, calibrated with 60 pictures" in export.said
    *told, last = export.said.splitlines()[-6:]
    assert [line.split(":")[0].strip() for line in told] == VARIANTS
    assert told[0].endswith(f" MB, accuracy {evaluation['accuracy']:.2%}")
    assert last.startswith(f"{export.folder}: packaged; publish it with: python -m model_store publish ")


def test_the_folder_of_a_run_is_whole_and_holds_nothing_else(xception_package: Path) -> None:
    manifest = verify_folder(xception_package).manifest
    assert unlisted_files(xception_package, manifest) == []
    assert {file.path for file in manifest.files} == {
        "assets.extra/tf_serving_warmup_requests",
        "classes.txt",
        "fingerprint.pb",
        *(f"golden/0{number}.png" for number in range(10)),
        "golden/pixels.npy",
        "golden/scores.npy",
        "model.keras",
        "openvino/fp32.bin",
        "openvino/fp32.xml",
        "openvino/int8.bin",
        "openvino/int8.xml",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    }
    assert (xception_package / "classes.txt").read_text() == "".join(f"{name}\n" for name in DIGITS)


def test_the_manifest_of_a_run_says_what_it_is(
    xception_package: Path, finished: Run, evaluation: dict[str, Any]
) -> None:
    manifest = Manifest.parse((xception_package / "manifest.json").read_bytes())
    assert (manifest.architecture, manifest.classes) == ("xception", DIGITS)
    assert (manifest.input.height, manifest.input.width) == (71, 71)
    assert (manifest.input.mean, manifest.input.scale) == (127.5, 127.5)
    assert manifest.evaluation == Evaluation(data="digits", examples=359, accuracy=evaluation["accuracy"])
    by_name = {variant.name: variant for variant in manifest.variants}
    assert list(by_name) == VARIANTS
    assert {by_name[name].tolerance for name in ("openvino/fp32", "tensorflow/fp32")} == {1e-3}
    assert all(1e-3 <= variant.tolerance <= 0.5 for variant in manifest.variants)
    assert by_name["tensorflow/fp32"].path == by_name["tensorflow/bf16"].path == "."
    assert by_name["tensorflow/bf16"].files == by_name["tensorflow/fp32"].files
    assert set(by_name["tensorflow/fp32"].files) == {
        "fingerprint.pb",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    }
    assert by_name["openvino/fp32"].files == ("openvino/fp32.xml", "openvino/fp32.bin")
    assert by_name["openvino/bf16"].files == by_name["openvino/fp32"].files
    assert by_name["openvino/int8"].files == ("openvino/int8.xml", "openvino/int8.bin")
    # In float32, not in the half precision that OpenVINO would save by itself.
    parameters = classifier.load(finished.model).count_params()
    assert manifest.file("openvino/fp32.bin").size == pytest.approx(4 * parameters, rel=0.02)
    assert manifest.file("openvino/int8.bin").size == pytest.approx(parameters, rel=0.05)
    assert (manifest.provenance["data"], manifest.provenance["seed"]) == ("digits", 0)
    assert manifest.provenance["keras"] == keras.__version__


def test_golden_pictures_are_held_out_ones_with_the_scores_of_keras(xception_package: Path, finished: Run) -> None:
    golden = Manifest.parse((xception_package / "manifest.json").read_bytes()).golden
    held_out = finished.split().held_out
    pictures = [(xception_package / path).read_bytes() for path in golden.images]
    assert [held_out.labels[list(held_out.images).index(picture)] for picture in pictures] == list(range(10))
    pixels, scores = np.load(xception_package / golden.pixels), np.load(xception_package / golden.scores)
    np.testing.assert_array_equal(pixels, [decode(picture, 71, 71) for picture in pictures])
    assert (scores.dtype, scores.argmax(axis=1).tolist()) == (np.float32, list(range(10)))
    assert scores.max(axis=1).min() > 0.7  # They are sure, so that agreeing with them means something.
    for path in (xception_package / "model.keras", finished.model):
        network = classifier.load(path, to_train=False)
        np.testing.assert_allclose(predict(network, pixels), scores, atol=1e-5)


def test_no_path_of_this_machine_is_published(whole: Run) -> None:
    data = Path(whole.config().data)
    assert data.is_absolute()
    assert from_run(whole.folder).provenance["data"] == data.name


@pytest.fixture(scope="module")
def loaded(xception_package: Path) -> Any:
    return tf.saved_model.load(str(xception_package))


def test_signatures_are_as_the_manifest_says(xception_package: Path, loaded: Any) -> None:
    manifest = Manifest.parse((xception_package / "manifest.json").read_bytes())
    assert set(loaded.signatures) == set(manifest.signatures) == {"serving_default", "pixels", "classify_images"}
    kinds = {"DT_STRING": tf.string, "DT_UINT8": tf.uint8, "DT_FLOAT": tf.float32}
    for name, signature in manifest.signatures.items():
        _, inputs = loaded.signatures[name].structured_input_signature
        outputs = loaded.signatures[name].structured_outputs
        for told, found in ((signature.inputs, inputs), (signature.outputs, outputs)):
            assert set(told) == set(found)
            for key, tensor in told.items():
                shape = tuple(-1 if size is None else size for size in found[key].shape)
                assert (kinds[tensor.dtype], tensor.shape) == (found[key].dtype, shape)


def test_pixels_give_the_golden_scores(xception_package: Path, loaded: Any) -> None:
    pixels, scores = (
        np.load(xception_package / "golden" / "pixels.npy"),
        np.load(xception_package / "golden" / "scores.npy"),
    )
    for count in (1, 10):
        answer = loaded.signatures["pixels"](pixels=tf.constant(pixels[:count]))["scores"].numpy()
        np.testing.assert_allclose(answer, scores[:count], atol=SAME_PIXELS)


def test_serving_default_takes_encoded_pictures_of_any_kind_and_size(xception_package: Path, loaded: Any) -> None:
    scores = np.load(xception_package / "golden" / "scores.npy")
    zero, one = (Image.open(xception_package / "golden" / f"0{number}.png").convert("L") for number in (0, 1))
    large = one.resize((71, 71), Image.Resampling.BILINEAR)

    def encoded(image: Image.Image, kind: str, **settings: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **settings)
        return out.getvalue()

    def answer(*pictures: bytes) -> NDArray[np.float32]:
        result: NDArray[np.float32] = loaded.signatures["serving_default"](image_bytes=tf.constant(pictures))[
            "scores"
        ].numpy()
        return result

    same = answer(encoded(zero, "PNG"), encoded(one.convert("RGB"), "PNG"), encoded(large, "PNG"))
    np.testing.assert_allclose(same, scores[[0, 1, 1]], atol=SAME_PIXELS)
    first_of_two = encoded(zero, "GIF", save_all=True, append_images=[one])
    np.testing.assert_allclose(answer(encoded(one, "GIF"), first_of_two), scores[[1, 0]], atol=SAME_PIXELS)
    jpeg = encoded(large, "JPEG", quality=100)
    np.testing.assert_allclose(answer(jpeg), scores[[1]], atol=OTHER_DECODER)
    with pytest.raises(tf.errors.InvalidArgumentError):
        answer(b"no picture")
