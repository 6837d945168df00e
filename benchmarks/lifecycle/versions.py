"""Derive versions with distinguishable predictions from a packaged version, for swaps and for tests of bad versions.

A version with shift k predicts for every image the class k places after the one that the network predicts. The shift is
part of the OpenVINO graph, and the golden scores are shifted with it, so that each such version is valid. It holds only
the files that OpenVINO needs.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import openvino
from openvino import opset13

from model_store.trust.manifest import MANIFEST_NAME, Manifest, ManifestFile

Flaw = Literal["golden", "engine"]
"""`golden`: the scores are not the golden ones. `engine`: the graph cannot be read."""


def derive_version(package: Path, folder: Path, shift: int, flaw: Flaw | None = None) -> Path:
    """Write a version whose classes are shifted, with a complete and valid manifest, and return its folder.

    Args:
        package: A packaged version with the variant `openvino/fp32`.
        folder: Must not exist.
        shift: Number of places.
        flaw: A defect of the version, although every hash is right.
    """
    manifest = Manifest.parse((package / MANIFEST_NAME).read_bytes())
    variant = next(variant for variant in manifest.variants if variant.name == "openvino/fp32")
    needed = {*manifest.serving_files(variant), *manifest.golden.images}
    files = [file for file in manifest.files if file.path in needed]
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / file.path, folder / file.path)
    _shift_graph(package / variant.path, folder / variant.path, shift)
    scores = np.roll(np.load(folder / manifest.golden.scores), shift, axis=1)
    np.save(folder / manifest.golden.scores, scores if flaw != "golden" else scores[:, ::-1])
    if flaw == "engine":
        (folder / variant.path).write_text("<net/>")
    derived = manifest.model_copy(
        update={
            "files": tuple(_described(folder, file) for file in files),
            "variants": (variant,),
            "provenance": {**manifest.provenance, "shift": shift, "flaw": flaw},
        }
    )
    (folder / MANIFEST_NAME).write_bytes(derived.to_bytes())
    return folder


def _shift_graph(source: Path, target: Path, shift: int) -> None:
    model = openvino.Core().read_model(source)
    scores = model.outputs[0].get_node().input_value(0)
    classes = scores.partial_shape[1].get_length()
    order = np.roll(np.arange(classes), shift)
    shifted = opset13.gather(scores, opset13.constant(order), opset13.constant(1))
    openvino.save_model(openvino.Model([shifted], model.get_parameters(), "shifted"), target, compress_to_fp16=False)


def _described(folder: Path, file: ManifestFile) -> ManifestFile:
    data = (folder / file.path).read_bytes()
    return ManifestFile(path=file.path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
