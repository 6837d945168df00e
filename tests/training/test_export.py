"""The folder that `export` makes of a run: whole, checked, and it gives the same answers."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from model_store.manifest import Evaluation, Manifest
from model_store.verify import stray_files, verify_folder
from tests.server import ROOT
from training import model as classifier
from training.data import load
from training.images import decode
from training.run import Epoch, Progress, Run
from training.train import make_config, predict

from .classifiers import SAME_PIXELS, fit_head

OTHER_DECODER = 0.05
"""Where TensorFlow decodes a JPEG, whose pixels differ from Pillow's by a few levels."""

VARIANTS = ["openvino/fp32", "openvino/bf16", "openvino/int8", "tensorflow/fp32", "tensorflow/bf16"]


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the real Xception; it recognises all of its pictures, zeros and ones."""
    run = Run(tmp_path_factory.mktemp("finished") / "run")
    run.begin(
        make_config(
            data=str(folder),
            image_size=71,
            epochs=1,
            batch_size=8,
            learning_rate=1e-3,
            seed=5,
            held_out=0.25,
            flip=False,
            weights=None,
        )
    )
    network = classifier.build(71, 2, None, seed=5)
    pictures = load(str(folder))
    features = keras.Model(network.input, network.get_layer("dropout").input)
    fit_head(network, predict(features, pictures.pixels(71, 71)).astype(np.float64), pictures.labels)
    figures = Epoch(loss=0, accuracy=1, held_out_loss=0, held_out_accuracy=1, seconds=1)
    progress = Progress(history=[figures])
    run.keep(progress, network.save)
    run.finish(progress)
    return run


@pytest.fixture(scope="module")
def package(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """That run, packaged through the command line."""
    home = tmp_path_factory.mktemp("package")
    command = [sys.executable, "-m", "training", "export", str(finished.folder), "--output", str(home / "package")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Quantising to int8, calibrated with 18 pictures" in done.stdout
    assert "╸" not in done.stdout + done.stderr  # NNCF's progress bars
    *told, last = done.stdout.splitlines()[-6:]
    assert [line.split(":")[0].strip() for line in told] == VARIANTS
    assert told[0].endswith(" MB, accuracy 100.00%")
    assert last.startswith(f"{home / 'package'}: packaged; publish it with: python -m model_store publish ")
    assert [path.name for path in home.iterdir()] == ["package"]
    yield home / "package"
    shutil.rmtree(home)  # 240 MB


def test_the_folder_of_a_run_is_whole_and_holds_nothing_else(package: Path) -> None:
    manifest = verify_folder(package).manifest
    assert stray_files(package, manifest) == []
    assert {file.path for file in manifest.files} == {
        "assets.extra/tf_serving_warmup_requests",
        "classes.txt",
        "fingerprint.pb",
        "golden/00.png",
        "golden/01.png",
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
    assert (package / "classes.txt").read_text() == "0\n1\n"


def test_the_manifest_of_a_run_says_what_it_is(package: Path, finished: Run) -> None:
    manifest = Manifest.parse((package / "manifest.json").read_bytes())
    assert (manifest.architecture, manifest.classes) == ("xception", ("0", "1"))
    assert (manifest.input.height, manifest.input.width) == (71, 71)
    assert (manifest.input.mean, manifest.input.scale) == (127.5, 127.5)
    data = Path(finished.config().data).name  # No path of this machine is published.
    assert manifest.evaluation == Evaluation(data=data, examples=6, accuracy=1)
    by_name = {variant.name: variant for variant in manifest.variants}
    assert list(by_name) == VARIANTS
    assert [by_name[name].accuracy for name in ("openvino/fp32", "openvino/int8", "tensorflow/fp32")] == [1.0] * 3
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
    assert manifest.provenance["data"] == data
    assert manifest.provenance["seed"] == 5
    assert manifest.provenance["keras"] == keras.__version__


def test_golden_pictures_are_held_out_ones_with_the_scores_of_keras(package: Path, finished: Run) -> None:
    golden = Manifest.parse((package / "manifest.json").read_bytes()).golden
    held_out = finished.split().held_out
    pictures = [(package / path).read_bytes() for path in golden.images]
    assert [held_out.labels[list(held_out.images).index(picture)] for picture in pictures] == [0, 1]
    pixels, scores = np.load(package / golden.pixels), np.load(package / golden.scores)
    np.testing.assert_array_equal(pixels, [decode(picture, 71, 71) for picture in pictures])
    assert (scores.dtype, scores.argmax(axis=1).tolist()) == (np.float32, [0, 1])
    assert scores.max(axis=1).min() > 0.9  # They are sure, so that agreeing with them means something.
    for path in (package / "model.keras", finished.model):
        network = classifier.load(path, to_train=False)
        np.testing.assert_allclose(predict(network, pixels), scores, atol=1e-5)


@pytest.fixture(scope="module")
def loaded(package: Path) -> Any:
    return tf.saved_model.load(str(package))


def test_signatures_are_as_the_manifest_says(package: Path, loaded: Any) -> None:
    manifest = Manifest.parse((package / "manifest.json").read_bytes())
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


def test_pixels_give_the_golden_scores(package: Path, loaded: Any) -> None:
    pixels, scores = np.load(package / "golden" / "pixels.npy"), np.load(package / "golden" / "scores.npy")
    for count in (1, 2):
        answer = loaded.signatures["pixels"](pixels=tf.constant(pixels[:count]))["scores"].numpy()
        np.testing.assert_allclose(answer, scores[:count], atol=SAME_PIXELS)


def test_serving_default_takes_encoded_pictures_of_any_kind_and_size(package: Path, loaded: Any) -> None:
    scores = np.load(package / "golden" / "scores.npy")
    zero, one = (Image.open(package / "golden" / f"0{number}.png").convert("L") for number in (0, 1))
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
