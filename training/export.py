"""Packaging: a model becomes the folder of a version, with everything that serving needs.

saved_model.pb, variables/   the SavedModel; TensorFlow Serving can be pointed here
assets.extra/                what TensorFlow Serving warms it up with
model.keras                  to train on
openvino/fp32.xml, .bin      what the OpenVINO engine runs, in float32 or bfloat16
openvino/int8.xml, .bin      the same quantised
classes.txt                  a name a line, in the order of the scores
golden/                      real inputs, and the scores they must get
manifest.json                the list of all that, with sizes and hashes (model_store.trust.manifest)
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import openvino
import tensorflow as tf

from model_store.trust.manifest import (
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
from .interrupts import Interrupts
from .model import MEAN, SCALE
from .quantize import CALIBRATION_IMAGES, FEWEST_IMAGES, calibration_pixels, quantize
from .savedmodel import save_model, signatures
from .source import Source
from .train import predict
from .variants import Pictures, forms, measure
from .warmup_records import save_warmup


def export(
    source: Source,
    output: Path,
    *,
    overwrite: bool = False,
    calibration_images: int = CALIBRATION_IMAGES,
    say: Callable[[str], object] = print,
) -> Manifest:
    """Package a model into a folder that appears only once it is whole and checked.

    Args:
        source: What to package.
        output: The folder to make.
        overwrite: Replace a folder that is there.
        calibration_images: Pictures that int8 takes its ranges from, at most; with 0 there is no int8.
        say: Told each step.

    Raises:
        RunError: Something is there and `overwrite` is not set, or it is no packaged version.
        ExportError: A float32 variant does not agree with the Keras model on the golden set.
    """
    check_output(output, overwrite=overwrite)
    output = output.resolve()
    height, width = source.size
    beside = output.with_name(f".{output.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        with Interrupts() as interrupts:

            def tell(text: str) -> None:
                interrupts.check()
                say(text)

            tell("Writing the SavedModel and model.keras")
            save_model(source.network, beside, source.classes, height, width)
            if not any(isinstance(layer, keras.layers.TFSMLayer) for layer in source.network.layers):
                source.network.save(beside / "model.keras")  # What came as a SavedModel has no Keras layers to save.
            tell("Converting to OpenVINO")
            loaded = tf.saved_model.load(str(beside))
            save_openvino(loaded, beside / "openvino" / "fp32.xml")
            save_int8(source, beside / "openvino", calibration_images, tell)
            (beside / "classes.txt").write_text("".join(f"{name}\n" for name in source.classes), encoding="utf-8")
            tell(f"Recording the scores of {len(source.golden)} golden pictures")
            golden = save_golden(source, beside / "golden", height, width)
            pictures = Pictures(np.load(beside / golden.pixels), np.load(beside / golden.scores))
            save_warmup(beside, loaded, source.golden, pictures.pixels)
            tell(
                "Measuring the accuracy of each variant"
                if source.held_out
                else "No labelled pictures: accuracy is not measured"
            )
            held_out = _held_out(source)
            variants = measure(forms(beside, loaded), pictures, held_out, tell)
            _remove_unused(beside / "openvino", variants)
            manifest = describe(source, beside, variants, golden, held_out)
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


def save_int8(source: Source, folder: Path, most: int, say: Callable[[str], object]) -> None:
    """Write the int8 form beside the float32 one, unless it is not wanted or there are too few pictures for it."""
    if not most:
        return
    pixels = calibration_pixels(source.calibration, most, *source.size)
    if len(pixels) < FEWEST_IMAGES:
        say(f"No int8: {len(pixels)} pictures to calibrate it with; at least {FEWEST_IMAGES} are needed")
        return
    say(f"Quantising to int8, calibrated with {len(pixels)} pictures")
    quantize(folder / "fp32.xml", pixels, folder / "int8.xml")


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


def describe(
    source: Source, folder: Path, variants: tuple[Variant, ...], golden: Golden, held_out: Pictures | None
) -> Manifest:
    """Return the manifest of what lies in the folder.

    Args:
        source: What was packaged.
        folder: Of the version.
        variants: What can be run of it.
        golden: The golden set in it.
        held_out: What the accuracy was measured on.
    """
    height, width = source.size
    evaluation = None
    if source.held_out and held_out and (accuracy := held_out.accuracy(held_out.scores)) is not None:
        data = Path(source.held_out.source).name
        evaluation = Evaluation(data=data, examples=len(source.held_out), accuracy=accuracy)
    return Manifest(
        created=datetime.now(UTC).replace(microsecond=0),
        architecture="xception",
        input=InputContract(height=height, width=width, mean=MEAN, scale=SCALE),
        classes=source.classes,
        signatures=signatures(source.classes, height, width),
        files=tuple(_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()),
        variants=variants,
        golden=golden,
        evaluation=evaluation,
        provenance={
            **source.provenance,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "openvino": openvino.__version__,
            **({"nncf": version("nncf")} if any(variant.precision == "int8" for variant in variants) else {}),
        },
    )


def _held_out(source: Source) -> Pictures | None:
    """Return the labelled pictures with Keras' scores, where there are any."""
    if not source.held_out:
        return None
    pixels = source.held_out.pixels(*source.size)
    return Pictures(pixels, predict(source.network, pixels), source.held_out.labels)


def _remove_unused(folder: Path, variants: tuple[Variant, ...]) -> None:
    """Remove the files of forms that are no variant."""
    used = {path for variant in variants for path in variant.files}
    for path in folder.iterdir():
        if f"{folder.name}/{path.name}" not in used:
            path.unlink()


def _file(folder: Path, path: Path) -> ManifestFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=digest)
