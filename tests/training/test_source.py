"""What can be packaged besides a run and a file of Keras."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from model_store.trust.manifest import MANIFEST_NAME, Manifest
from training.__main__ import main


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of two classes that is not Xception; packaging it takes a second."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20, 30, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
    folder = tmp_path_factory.mktemp("small")
    network.export(folder / "saved", verbose=False)
    network.save(folder / "small.keras")
    return folder


def test_a_saved_model_is_packaged_without_keras_layers_to_train_on(small: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert main(["export", str(small / "saved"), "--output", str(output)]) == 0
    manifest = Manifest.parse((output / MANIFEST_NAME).read_bytes())
    assert (manifest.input.height, manifest.input.width, manifest.classes) == (20, 30, ("0", "1"))
    assert not (output / "model.keras").exists()
    assert (output / "openvino" / "fp32.bin").exists()


def test_a_package_is_packaged_again_from_its_keras_model(small: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    assert main(["export", str(small / "small.keras"), "--output", str(first)]) == 0
    assert main(["export", str(first), "--output", str(again)]) == 0
    assert (again / "model.keras").exists()
    assert (again / "golden" / "scores.npy").read_bytes() == (first / "golden" / "scores.npy").read_bytes()


def test_a_network_that_scales_by_itself_is_refused(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "package"
    assert main(["export", str(small / "small.keras"), "--output", str(package)]) == 0
    (package / "model.keras").unlink()
    assert main(["export", str(package), "--output", str(tmp_path / "again")]) == 1
    assert "takes uint8; a model that takes pixels from -1 to 1 is needed" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_a_file_is_not_replaced(small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert main(["export", str(small / "small.keras"), "--output", str(tmp_path / "out"), "--overwrite"]) == 2
    assert (tmp_path / "out").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
