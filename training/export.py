"""Packaging: a model becomes the folder of a version, with everything that serving needs.

saved_model.pb, variables/   the SavedModel; TensorFlow Serving can be pointed here
assets.extra/                what TensorFlow Serving warms it up with
model.keras                  to train on
openvino/fp32.xml, .bin      what the OpenVINO engine runs
classes.txt                  a name a line, in the order of the scores
golden/                      real inputs, and the scores they must get
manifest.json                the list of all that, with sizes and hashes (model_store.manifest)
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import openvino
import tensorflow as tf
from numpy.typing import NDArray

from model_store.manifest import (
    MANIFEST_NAME,
    Evaluation,
    Golden,
    InputContract,
    Manifest,
    ManifestFile,
    Variant,
)

from .errors import DataError, ExportError, RunError
from .images import decode
from .model import MEAN, SCALE
from .savedmodel import save_model, signatures
from .source import Source
from .train import predict
from .warmup_records import save_warmup

TOLERANCE = 1e-3
"""Largest difference of a float32 engine's score from Keras'."""

_BATCH = 64

Engine = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def export(source: Source, output: Path, *, overwrite: bool = False, say: Callable[[str], object] = print) -> Manifest:
    """Package a model into a folder that appears only once it is whole and checked.

    Args:
        source: What to package.
        output: The folder to make.
        overwrite: Replace a folder that is there.
        say: Told each step.

    Raises:
        RunError: Something is there and `overwrite` is not set, or it is no packaged version.
        ExportError: A variant does not agree with the Keras model on the golden set.
    """
    check_output(output, overwrite=overwrite)
    output = output.resolve()
    height, width = source.size
    beside = output.with_name(f".{output.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        say("Writing the SavedModel and model.keras")
        save_model(source.network, beside, source.classes, height, width)
        if not any(isinstance(layer, keras.layers.TFSMLayer) for layer in source.network.layers):
            source.network.save(beside / "model.keras")  # What came as a SavedModel has no Keras layers to save.
        say("Converting to OpenVINO")
        loaded = tf.saved_model.load(str(beside))
        save_openvino(loaded, beside / "openvino" / "fp32.xml")
        (beside / "classes.txt").write_text("".join(f"{name}\n" for name in source.classes), encoding="utf-8")
        say(f"Recording the scores of {len(source.golden)} golden pictures")
        golden = save_golden(source, beside / "golden", height, width)
        save_warmup(beside, loaded, source.golden, np.load(beside / golden.pixels))
        engines = {
            "openvino": openvino_engine(beside / "openvino" / "fp32.xml"),
            "tensorflow": saved_model_engine(loaded),
        }
        check_golden(beside, golden, engines)
        say(
            "Measuring the accuracy of each variant"
            if source.held_out
            else "No labelled pictures: accuracy is not measured"
        )
        manifest = describe(source, beside, golden, engines)
        (beside / MANIFEST_NAME).write_bytes(manifest.to_bytes())
        _replace(output, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse to write where something lies that is not to be replaced.

    Raises:
        RunError: Something is there and `overwrite` is not set, or it is no packaged version.
    """
    if not output.exists():
        return
    if not overwrite:
        raise RunError(f"{output}: exists already; give --overwrite to replace it, or another --output")
    if not (output / MANIFEST_NAME).is_file():
        raise RunError(f"{output}: holds no {MANIFEST_NAME}, so it is not a package; it is left as it is")


def _replace(output: Path, beside: Path) -> None:
    """Give a finished folder its name; the one that had it before goes only then."""
    before = output.with_name(f".{output.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if output.exists():
        output.rename(before)
    beside.rename(output)
    shutil.rmtree(before, ignore_errors=True)


def save_openvino(loaded: Any, path: Path) -> None:
    """Convert the `pixels` signature, scaling included, keeping its weights in float32."""
    path.parent.mkdir()
    openvino.save_model(openvino.convert_model(loaded.signatures["pixels"]), path, compress_to_fp16=False)


def save_golden(source: Source, folder: Path, height: int, width: int) -> Golden:
    """Write the golden pictures, their pixels, and the scores of the float32 Keras model."""
    folder.mkdir()
    images: list[str] = []
    for number, encoded in enumerate(source.golden):
        ending = "png" if encoded.startswith(b"\x89PNG") else "jpg" if encoded.startswith(b"\xff\xd8") else "img"
        (folder / f"{number:02}.{ending}").write_bytes(encoded)
        images.append(f"golden/{number:02}.{ending}")
    try:
        pixels = np.stack([decode(encoded, height, width) for encoded in source.golden])
    except DataError as error:
        raise ExportError(f"a golden picture {error}") from error
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "scores.npy", predict(source.network, pixels).astype(np.float32))
    return Golden(images=tuple(images), pixels="golden/pixels.npy", scores="golden/scores.npy")


def openvino_engine(path: Path) -> Engine:
    """Return a function that runs the IR, in float32 also where the CPU would rather take bfloat16."""
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: np.array(compiled(pixels)[0])


def saved_model_engine(loaded: Any) -> Engine:
    """Return a function that runs the `pixels` signature of a SavedModel."""
    return lambda pixels: loaded.signatures["pixels"](pixels=tf.constant(pixels))["scores"].numpy()


def check_golden(folder: Path, golden: Golden, engines: dict[str, Engine]) -> None:
    """Compare each variant with the Keras model on the golden set.

    Raises:
        ExportError: A score differs by more than the tolerance.
    """
    pixels, expected = np.load(folder / golden.pixels), np.load(folder / golden.scores)
    for name, engine in engines.items():
        difference = float(np.abs(engine(pixels) - expected).max())
        if not difference <= TOLERANCE:
            raise ExportError(f"{name} differs from Keras by {difference:.2g}; {TOLERANCE:g} is allowed")


def describe(source: Source, folder: Path, golden: Golden, engines: dict[str, Engine]) -> Manifest:
    """Return the manifest of what lies in the folder."""
    height, width = source.size
    files = tuple(_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file())
    saved_model = tuple(file.path for file in files if file.path.startswith("variables/") or file.path.endswith(".pb"))
    accuracy = _accuracies(source, engines, height, width)
    return Manifest(
        created=datetime.now(UTC).replace(microsecond=0),
        architecture="xception",
        input=InputContract(height=height, width=width, mean=MEAN, scale=SCALE),
        classes=source.classes,
        signatures=signatures(source.classes, height, width),
        files=files,
        variants=(
            Variant(
                engine="openvino",
                precision="fp32",
                path="openvino/fp32.xml",
                files=("openvino/fp32.xml", "openvino/fp32.bin"),
                accuracy=accuracy.get("openvino"),
                tolerance=TOLERANCE,
            ),
            Variant(
                engine="tensorflow",
                precision="fp32",
                path=".",
                files=saved_model,
                accuracy=accuracy.get("tensorflow"),
                tolerance=TOLERANCE,
            ),
        ),
        golden=golden,
        evaluation=Evaluation(
            data=Path(source.held_out.source).name, examples=len(source.held_out), accuracy=accuracy["keras"]
        )
        if source.held_out
        else None,
        provenance={
            **source.provenance,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "openvino": openvino.__version__,
        },
    )


def _accuracies(source: Source, engines: dict[str, Engine], height: int, width: int) -> dict[str, float]:
    """Return the top-1 of Keras and of each variant on the held-out pictures; nothing where there are none."""
    if not source.held_out:
        return {}
    pixels, labels = source.held_out.pixels(height, width), source.held_out.labels

    def accuracy(engine: Engine) -> float:
        batches = [engine(pixels[at : at + _BATCH]) for at in range(0, len(pixels), _BATCH)]
        return float((np.concatenate(batches).argmax(axis=1) == labels).mean())

    keras_accuracy = accuracy(lambda batch: predict(source.network, batch))
    return {"keras": keras_accuracy, **{name: accuracy(engine) for name, engine in engines.items()}}


def _file(folder: Path, path: Path) -> ManifestFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=digest)
