"""Package a model as the folder of a version, with all files that serving needs.

saved_model.pb, variables/   the SavedModel, also for TensorFlow Serving
assets.extra/                warm-up requests for TensorFlow Serving
model.keras                  the Keras model, for further training
openvino/fp32.xml, .bin      the model for the OpenVINO engine, in float32 or bfloat16
openvino/int8.xml, .bin      the same, quantised
classes.txt                  class names, one per line, in the order of the scores
golden/                      golden images and their expected scores
manifest.json                all files with sizes and hashes (model_store.trust.manifest)
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
from .quantize import CALIBRATION_IMAGES, MIN_IMAGES, calibration_pixels, quantize
from .savedmodel import save_model, signatures
from .source import Source
from .train import predict
from .variants import ReferenceScores, candidates, measure
from .warmup_records import save_warmup


def export(
    source: Source,
    output: Path,
    *,
    overwrite: bool = False,
    calibration_images: int = CALIBRATION_IMAGES,
    log: Callable[[str], object] = print,
) -> Manifest:
    """Package a model into a folder that is created atomically, after all checks.

    Args:
        source: The model to package.
        output: The folder to create.
        overwrite: Replace an existing package.
        calibration_images: Maximum number of int8 calibration images; 0 for no int8 variant.
        log: Called with a message for each step.

    Raises:
        RunError: The output exists and `overwrite` is not set, or it is not a package.
        ExportError: A float32 variant does not agree with the Keras model on the golden set.
    """
    check_output(output, overwrite=overwrite)
    output = output.resolve()
    height, width = source.size
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with Interrupts() as interrupts:

            def step(text: str) -> None:
                interrupts.check()
                log(text)

            step("Writing the SavedModel and model.keras")
            save_model(source.network, partial, source.classes, height, width)
            if not any(isinstance(layer, keras.layers.TFSMLayer) for layer in source.network.layers):
                source.network.save(partial / "model.keras")  # A model from a SavedModel has no Keras layers to save.
            step("Converting to OpenVINO")
            loaded = tf.saved_model.load(str(partial))
            save_openvino(loaded, partial / "openvino" / "fp32.xml")
            save_int8(source, partial / "openvino", calibration_images, step)
            (partial / "classes.txt").write_text("".join(f"{name}\n" for name in source.classes), encoding="utf-8")
            step(f"Recording the scores of {len(source.golden)} golden images")
            golden = save_golden(source, partial / "golden", height, width)
            golden_scores = ReferenceScores(np.load(partial / golden.pixels), np.load(partial / golden.scores))
            save_warmup(partial, loaded, source.golden, golden_scores.pixels)
            step(
                "Measuring the accuracy of each variant"
                if source.held_out
                else "No labelled images: accuracy is not measured"
            )
            held_out = _held_out(source)
            variants = measure(candidates(partial, loaded), golden_scores, held_out, step)
            _remove_unused(partial / "openvino", variants)
            manifest = describe(source, partial, variants, golden, held_out)
            (partial / MANIFEST_NAME).write_bytes(manifest.to_bytes())
        _replace(output, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def check_output(output: Path, *, overwrite: bool) -> None:
    """Check that an output folder may be created or replaced.

    Raises:
        RunError: The output exists and `overwrite` is not set, or it is not a package.
    """
    if not output.exists():
        return
    if not overwrite:
        raise RunError(f"{output}: already exists; use --overwrite to replace it, or another --output")
    if not (output / MANIFEST_NAME).is_file():
        raise RunError(f"{output}: has no {MANIFEST_NAME}, so it is not a package and is not replaced")


def _replace(output: Path, partial: Path) -> None:
    """Rename a finished folder to its final name, then remove the previous one."""
    previous = output.with_name(f".{output.name}.before")
    shutil.rmtree(previous, ignore_errors=True)
    if output.exists():
        output.rename(previous)
    partial.rename(output)
    shutil.rmtree(previous, ignore_errors=True)


def save_openvino(loaded: Any, path: Path) -> None:
    """Convert the `pixels` signature, scaling included, with weights in float32."""
    path.parent.mkdir()
    openvino.save_model(openvino.convert_model(loaded.signatures["pixels"]), path, compress_to_fp16=False)


def save_int8(source: Source, folder: Path, limit: int, log: Callable[[str], object]) -> None:
    """Write the int8 model next to the float32 one, unless `limit` is 0 or there are too few calibration images."""
    if not limit:
        return
    pixels = calibration_pixels(source.calibration, limit, *source.size)
    if len(pixels) < MIN_IMAGES:
        log(f"No int8 variant: {len(pixels)} calibration images; at least {MIN_IMAGES} are needed")
        return
    log(f"Quantising to int8 with {len(pixels)} calibration images")
    quantize(folder / "fp32.xml", pixels, folder / "int8.xml")


def save_golden(source: Source, folder: Path, height: int, width: int) -> Golden:
    """Write the golden images, their pixels, and the scores of the float32 Keras model."""
    folder.mkdir()
    images: list[str] = []
    for number, encoded in enumerate(source.golden):
        suffix = "png" if encoded.startswith(b"\x89PNG") else "jpg" if encoded.startswith(b"\xff\xd8") else "img"
        (folder / f"{number:02}.{suffix}").write_bytes(encoded)
        images.append(f"golden/{number:02}.{suffix}")
    try:
        pixels = np.stack([decode(encoded, height, width) for encoded in source.golden])
    except DataError as error:
        raise ExportError(f"a golden image {error}") from error
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "scores.npy", predict(source.network, pixels).astype(np.float32))
    return Golden(images=tuple(images), pixels="golden/pixels.npy", scores="golden/scores.npy")


def describe(
    source: Source, folder: Path, variants: tuple[Variant, ...], golden: Golden, held_out: ReferenceScores | None
) -> Manifest:
    """Return the manifest of the files in a folder.

    Args:
        source: The packaged model.
        folder: The folder of the version.
        variants: The variants in it.
        golden: The golden set in it.
        held_out: The labelled images on which the accuracy was measured.
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


def _held_out(source: Source) -> ReferenceScores | None:
    """Return the labelled images, if there are any, with the scores of Keras."""
    if not source.held_out:
        return None
    pixels = source.held_out.pixels(*source.size)
    return ReferenceScores(pixels, predict(source.network, pixels), source.held_out.labels)


def _remove_unused(folder: Path, variants: tuple[Variant, ...]) -> None:
    """Remove files that belong to no variant."""
    used = {path for variant in variants for path in variant.files}
    for path in folder.iterdir():
        if f"{folder.name}/{path.name}" not in used:
            path.unlink()


def _file(folder: Path, path: Path) -> ManifestFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=digest)
