"""Selection of the calibration images; the tests of `export` cover quantisation itself."""

from __future__ import annotations

import numpy as np

from training.images import encode_png
from training.quantize import calibration_pixels
from training.source import CALIBRATION_CROPS, photograph_crops

IMAGES = [encode_png(np.full((4, 4, 3), level, np.uint8)) for level in range(20)]


def test_images_are_selected_at_even_intervals() -> None:
    assert calibration_pixels(IMAGES, 100, 4, 4)[:, 0, 0, 0].tolist() == list(range(20))
    assert calibration_pixels(IMAGES, 5, 4, 4)[:, 0, 0, 0].tolist() == [0, 5, 10, 14, 19]
    assert calibration_pixels([], 5, 4, 6).shape == (0, 4, 6, 3)


def test_invalid_images_are_skipped() -> None:
    assert calibration_pixels([*IMAGES[:3], b"no image"], 100, 2, 2)[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_crops_are_different_and_reproducible() -> None:
    crops = photograph_crops()
    assert len(set(crops)) == CALIBRATION_CROPS
    assert photograph_crops() == crops
