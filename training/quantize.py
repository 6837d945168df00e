"""The int8 variant: weights and activations in whole numbers of eight bits, in ranges seen on real pictures."""

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
"""What NNCF looks at unless told otherwise; more changed nothing, a third as many lost nothing either."""

FEWEST_IMAGES = 8
"""With fewer the ranges are those of single pictures."""


def calibration_pixels(pictures: Sequence[bytes], most: int, height: int, width: int) -> NDArray[np.uint8]:
    """Decode pictures spread evenly over all there are, so that sorted ones give each class its share.

    Args:
        pictures: Encoded; those that cannot be decoded are passed over.
        most: How many to take at most.
        height: Pixels of the result.
        width: Pixels of the result.

    Returns:
        `uint8 [n, height, width, 3]`.
    """
    chosen = np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(int)
    pixels: list[NDArray[np.uint8]] = []
    for index in chosen:
        with contextlib.suppress(DataError):
            pixels.append(decode(pictures[index], height, width))
    return np.stack(pixels) if pixels else np.empty((0, height, width, 3), np.uint8)


def quantize(source: Path, pixels: NDArray[np.uint8], target: Path) -> None:
    """Write an int8 form of a float32 IR.

    Args:
        source: The float32 `.xml`.
        pixels: Real inputs that show which values occur, `uint8 [n, height, width, 3]`; their labels play no part.
        target: The `.xml` to write; its weights lie beside it.
    """
    with _quiet():
        import nncf

        nncf.set_log_level(logging.ERROR)
        inputs = [pixels[at : at + 1] for at in range(len(pixels))]
        network = openvino.Core().read_model(source)
        quantized = nncf.quantize(network, nncf.Dataset(inputs), subset_size=len(inputs))
    openvino.save_model(quantized, target, compress_to_fp16=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's progress bars off the terminal, and NNCF from telling its makers that it was used."""
    os.environ.setdefault("NNCF_CI", "1")  # Read at its import.
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        yield
