"""The int8 variant: weights and activations quantised to 8 bits, calibrated with real images."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from .errors import DataError
from .images import decode

CALIBRATION_IMAGES = 300
"""NNCF's default number of calibration images; neither more nor a third of it changed the accuracy."""

MIN_IMAGES = 8
"""With fewer calibration images the ranges would depend on single images."""


def calibration_pixels(images: Sequence[bytes], limit: int, height: int, width: int) -> NDArray[np.uint8]:
    """Decode images at even intervals, so that sorted images represent all classes.

    Args:
        images: Encoded images; those that cannot be decoded are skipped.
        limit: The maximum number of images.
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Returns:
        `uint8 [n, height, width, 3]`.
    """
    chosen = np.linspace(0, len(images) - 1, min(limit, len(images))).round().astype(int)
    pixels: list[NDArray[np.uint8]] = []
    for index in chosen:
        with contextlib.suppress(DataError):
            pixels.append(decode(images[index], height, width))
    return np.stack(pixels) if pixels else np.empty((0, height, width, 3), np.uint8)


def quantize(source: Path, pixels: NDArray[np.uint8], target: Path) -> None:
    """Quantise a float32 OpenVINO model to int8.

    Args:
        source: The `.xml` of the float32 model.
        pixels: Calibration images, `uint8 [n, height, width, 3]`.
        target: The `.xml` to write; the `.bin` is written next to it.
    """
    with _without_output():
        import nncf

        nncf.set_log_level(logging.ERROR)
        inputs = [pixels[at : at + 1] for at in range(len(pixels))]
        network = openvino.Core().read_model(source)
        quantized = nncf.quantize(network, nncf.Dataset(inputs), subset_size=len(inputs))
    openvino.save_model(quantized, target, compress_to_fp16=False)


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Suppress NNCF's progress bars and telemetry."""
    os.environ.setdefault("NNCF_CI", "1")  # NNCF reads this at import.
    with open(os.devnull, "w", encoding="utf-8") as null, contextlib.redirect_stdout(null):  # noqa: PTH123
        yield
