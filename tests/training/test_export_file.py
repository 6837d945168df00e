"""`export` of a file: what it takes, what it replaces, and that a failure leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_store.trust.manifest import Evaluation
from model_store.trust.verify import unlisted_files, verify_folder
from tests.server import ROOT
from training import export, variants
from training.__main__ import main
from training.errors import WeightsError
from training.source import from_file, photographs
from training.train import predict

from .classifiers import HEIGHT, SAME_PIXELS, WIDTH, small_network


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
    assert unlisted_files(output, manifest) == []
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
    assert unlisted_files(output, verify_folder(output).manifest) == []
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def interrupt(arguments: list[str], line: str) -> tuple[int, str, str]:
    """Run a command until it says `line`, press Ctrl-C, and return its status and what it said.

    No traceback of ours may be in that. TensorFlow's C++ may print one of its own, of the place where it was met.
    """
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
    assert code == 130, said + errors
    assert "packaged" not in said
    assert errors.splitlines()[-1] == "Interrupted; nothing half-written is left."
    assert "/training/" not in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_folder_that_was_to_be_replaced(files: Path, tmp_path: Path) -> None:
    output = tmp_path / "package"
    output.mkdir()
    (output / "manifest.json").write_text("{}")
    code, said, errors = interrupt(small_export(files, output, "--overwrite"), "Converting to OpenVINO")
    assert code == 130, said + errors
    assert "packaged" not in said
    assert "/training/" not in errors
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
