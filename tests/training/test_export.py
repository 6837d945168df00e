"""The folder that `export` and `package-imagenet` make: whole, checked, the same answers, or not there at all."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format
from numpy.typing import NDArray
from PIL import Image

from model_store.manifest import Evaluation, Manifest
from model_store.verify import stray_files, verify_folder
from tests.server import ROOT
from training import export, variants
from training import model as classifier
from training.__main__ import main
from training.data import load
from training.errors import WeightsError
from training.images import decode
from training.run import Epoch, Progress, Run
from training.source import from_file, photographs
from training.train import make_config, predict
from training.warmup_records import MAX_BYTES, WARMUP_PATH

from .serving_session import ServingSession

SAME_PIXELS = 1e-3
OTHER_DECODER = 0.05
"""Where TensorFlow decodes a JPEG, whose pixels differ from Pillow's by a few levels."""

HEIGHT, WIDTH = 32, 48

VARIANTS = ["openvino/fp32", "openvino/bf16", "openvino/int8", "tensorflow/fp32", "tensorflow/bf16"]


def fit_head(network: keras.Model, features: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Make a network of random features tell two classes apart, by ridge regression instead of hours of training."""
    middle = features.mean(axis=0)
    centred = features - middle
    products = centred @ centred.T
    weight = centred.T @ np.linalg.solve(
        products + 0.01 * np.trace(products) / len(products) * np.eye(len(products)), np.where(labels == 1, 2.0, -2.0)
    )
    kernel = np.stack([-weight, weight], axis=1)
    network.layers[-1].set_weights([kernel, -middle @ kernel])


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


def small_network(pictures: Path) -> keras.Model:
    """A classifier of zeros and ones that is built in no time; its height and width differ."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    features = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
    dataset = load(str(pictures))
    fit_head(
        network,
        predict(keras.Model(inputs, features), dataset.pixels(HEIGHT, WIDTH)).astype(np.float64),
        dataset.labels,
    )
    return network


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small.keras`, `small.h5`, and files of class names."""
    home = tmp_path_factory.mktemp("files")
    network = small_network(folder)
    network.save(home / "small.keras")
    network.save(home / "small.h5")
    (home / "digits.txt").write_text("0\n1\n")
    (home / "words.txt").write_text("zéro\nun\n", encoding="utf-8")
    (home / "three.txt").write_text("0\n1\n2\n")
    (home / "gap.txt").write_text("0\n\n")
    (home / "binary.txt").write_bytes(b"\xff\xfe\x00")
    return home


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_with_its_classes_and_examples_is_packaged(
    files: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    source, output = files / f"small{suffix}", tmp_path / "out" / "package"
    arguments = ["--classes", str(files / "digits.txt"), "--examples", str(folder), "--output", str(output)]
    assert main(["export", str(source), *arguments]) == 0
    assert "openvino/fp32: 0.0 MB, accuracy 100.00%" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["package"]
    manifest = verify_folder(output).manifest
    assert stray_files(output, manifest) == []
    assert manifest.classes == ("0", "1")
    assert (manifest.input.height, manifest.input.width) == (HEIGHT, WIDTH)
    assert manifest.signatures["pixels"].inputs["pixels"].shape == (-1, HEIGHT, WIDTH, 3)
    assert manifest.evaluation == Evaluation(data=folder.name, examples=24, accuracy=1)
    assert manifest.provenance["file"] == source.name
    network = keras.models.load_model(source)
    pixels, scores = np.load(output / "golden" / "pixels.npy"), np.load(output / "golden" / "scores.npy")
    np.testing.assert_allclose(predict(network, pixels), scores, atol=1e-5)
    assert scores.argmax(axis=1).tolist() == [0, 1]
    answers = tf.saved_model.load(str(output)).signatures["serving_default"](
        image_bytes=tf.constant([(output / path).read_bytes() for path in manifest.golden.images])
    )
    np.testing.assert_allclose(answers["scores"].numpy(), scores, atol=SAME_PIXELS)


def test_pictures_of_other_classes_are_golden_but_no_measure(files: Path, folder: Path, tmp_path: Path) -> None:
    source = from_file(files / "small.keras", files / "words.txt", str(folder))
    manifest = export.export(source, tmp_path / "package", calibration_images=0, say=lambda _: None)
    assert manifest.classes == ("zéro", "un")
    assert (tmp_path / "package" / "classes.txt").read_text(encoding="utf-8") == "zéro\nun\n"
    assert len(manifest.golden.images) == 2
    assert manifest.evaluation is None
    assert {variant.accuracy for variant in manifest.variants} == {None}


def test_a_file_alone_is_checked_with_photographs(files: Path) -> None:
    source = from_file(files / "small.keras", None, None)
    assert source.classes == ("0", "1")
    assert source.golden == photographs()
    assert source.held_out is None
    assert source.size == (HEIGHT, WIDTH)


def small_export(files: Path, output: Path, *more: str) -> list[str]:
    return ["export", str(files / "small.keras"), "--output", str(output), "--calibration-images", "0", *more]


def test_a_folder_that_exists_is_kept_unless_told_otherwise(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "package"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    assert main(small_export(files, output)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        f"python -m training: {output}: exists already; give --overwrite to replace it, or another --output"
    )
    assert main(small_export(files, output, "--overwrite")) == 2
    assert "holds no manifest.json, so it is not a package; it is left as it is" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["mine.txt"]
    (output / "manifest.json").write_text("{}")
    assert main(small_export(files, output, "--overwrite")) == 0
    assert stray_files(output, verify_folder(output).manifest) == []
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def interrupt(arguments: list[str], line: str) -> tuple[int, str, str]:
    """Run a command until it says `line`, press Ctrl-C, and return its status and what it said."""
    # A shell starts what runs in its background, such as these tests, deaf to Ctrl-C.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from training.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        for text in process.stdout:
            said += text
            if text.startswith(line):
                break
        os.kill(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said + rest, errors


def test_ctrl_c_leaves_no_folder(files: Path, tmp_path: Path) -> None:
    code, said, errors = interrupt(small_export(files, tmp_path / "package"), "Writing the SavedModel")
    assert code == 130
    assert "packaged" not in said
    assert errors.splitlines()[-1] == "Interrupted; nothing half-written is left."
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_folder_that_was_to_be_replaced(files: Path, tmp_path: Path) -> None:
    output = tmp_path / "package"
    output.mkdir()
    (output / "manifest.json").write_text("{}")
    code, said, errors = interrupt(small_export(files, output, "--overwrite"), "Converting to OpenVINO")
    assert code == 130
    assert "packaged" not in said
    assert "Traceback" not in errors
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "package",
        "package/manifest.json",
    ]


@pytest.mark.parametrize(("name", "function"), [("openvino", "compile_ir"), ("tensorflow", "freeze")])
def test_a_variant_that_disagrees_leaves_no_folder(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    function: str,
) -> None:
    true_load = getattr(variants, function)

    def wrong_load(*arguments: Any, **more: Any) -> Any:
        engine = true_load(*arguments, **more)
        run = engine.run
        engine.run = lambda pixels: run(pixels) + np.float32(0.01)
        return engine

    monkeypatch.setattr(variants, function, wrong_load)
    assert main(small_export(files, tmp_path / "package")) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"python -m training: {name}/fp32 differs from Keras by 0.01; 0.001 is allowed"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ("three.txt", "has 3 names; the model has 2 classes"),
        ("gap.txt", "the model has 2 classes"),
        ("binary.txt", "is no UTF-8 text"),
        ("missing.txt", "No such file or directory"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: str, reason: str
) -> None:
    assert main(small_export(files, tmp_path / "package", "--classes", str(files / classes))) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"python -m training: --classes {files / classes}: ")
    assert reason in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("takes", "kind"), [((10,), "numbers"), ((8, 8, 1), "grey"), ((None, None, 3), "any size"), ((8, 8, 3), "maps")]
)
def test_what_is_no_classifier_of_pictures_is_refused(tmp_path: Path, takes: tuple[int | None, ...], kind: str) -> None:
    inputs = keras.Input(takes)
    features = inputs if kind in {"numbers", "maps"} else keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(features)).save(tmp_path / "model.keras")
    with pytest.raises(WeightsError, match=r"\[n, height, width, 3\] and \[n, classes\] are needed"):
        from_file(tmp_path / "model.keras", None, None)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, keras.Model]]:
    """Xception as Keras builds it for ImageNet, of random weights, packaged from a file such as Keras 2 wrote."""
    home = tmp_path_factory.mktemp("imagenet")
    keras.utils.set_random_seed(7)
    network = keras.applications.Xception(weights=None)
    kernel, bias = network.layers[-1].get_weights()
    features = predict(
        keras.Model(network.input, network.layers[-2].output),
        np.stack([decode(picture, 299, 299) for picture in photographs()]),
    )
    # Scores that differ from class to class and from picture to picture; else every engine would agree.
    spread = (features - features.mean(axis=0)) @ kernel
    kernel = kernel / spread.std() * 2
    network.layers[-1].set_weights([kernel, bias - features.mean(axis=0) @ kernel])
    with h5py.File(home / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    assert (
        main(
            [
                "package-imagenet",
                "--weights",
                str(home / "weights.h5"),
                "--output",
                str(home / "package"),
                "--calibration-images",
                "8",
            ]
        )
        == 0
    )
    assert sorted(path.name for path in home.iterdir()) == ["package", "weights.h5"]
    yield home / "package", network
    shutil.rmtree(home)  # 360 MB


def test_imagenet_is_packaged_with_its_names(imagenet: tuple[Path, keras.Model]) -> None:
    folder, _ = imagenet
    manifest = verify_folder(folder).manifest
    assert stray_files(folder, manifest) == []
    assert (manifest.input.height, manifest.input.width) == (299, 299)
    assert manifest.signatures["pixels"].inputs["pixels"].shape == (-1, 299, 299, 3)
    assert manifest.signatures["pixels"].outputs["scores"].shape == (-1, 1000)
    assert len(manifest.classes) == 1000
    assert manifest.classes[:3] == ("tench", "goldfish", "great white shark")
    assert manifest.classes[-1] == "toilet paper"
    assert (folder / "classes.txt").read_text(encoding="utf-8").splitlines() == list(manifest.classes)
    assert manifest.evaluation is None
    assert {variant.accuracy for variant in manifest.variants} == {None}
    assert manifest.provenance["weights"] == "weights.h5"


def test_imagenet_is_warmed_up_with_photographs(imagenet: tuple[Path, keras.Model]) -> None:
    folder, _ = imagenet
    with ServingSession(folder) as session:
        asked = session.warm_up(folder)
    assert sorted(asked) == ["classify_images", "pixels", *["serving_default"] * 5]
    assert (folder / WARMUP_PATH).stat().st_size < MAX_BYTES


def test_golden_pictures_of_imagenet_are_the_photographs(imagenet: tuple[Path, keras.Model]) -> None:
    folder, network = imagenet
    golden = Manifest.parse((folder / "manifest.json").read_bytes()).golden
    pictures = [(folder / path).read_bytes() for path in golden.images]
    assert [Path(path).suffix for path in golden.images] == [".jpg"] * 8
    assert pictures == photographs()
    images = Path(sklearn.datasets.__file__).parent / "images"
    assert {(images / "china.jpg").read_bytes(), (images / "flower.jpg").read_bytes()} <= set(pictures)
    pixels, scores = np.load(folder / golden.pixels), np.load(folder / golden.scores)
    np.testing.assert_array_equal(pixels, [decode(picture, 299, 299) for picture in pictures])
    assert scores.shape == (8, 1000)
    assert np.ptp(scores, axis=0).max() > 0.01  # The pictures are told apart.
    np.testing.assert_allclose(predict(network, pixels), scores, atol=1e-5)
