"""Which pictures calibrate the int8 variant; that it works is seen where models are packaged."""

from __future__ import annotations

import numpy as np

from training.images import encode_png
from training.quantize import calibration_pixels
from training.source import CROPS, photograph_crops

PICTURES = [encode_png(np.full((4, 4, 3), level, np.uint8)) for level in range(20)]


def test_pictures_are_taken_from_all_over() -> None:
    assert calibration_pixels(PICTURES, 100, 4, 4)[:, 0, 0, 0].tolist() == list(range(20))
    assert calibration_pixels(PICTURES, 5, 4, 4)[:, 0, 0, 0].tolist() == [0, 5, 10, 14, 19]
    assert calibration_pixels([], 5, 4, 6).shape == (0, 4, 6, 3)


def test_what_cannot_be_decoded_is_passed_over() -> None:
    assert calibration_pixels([*PICTURES[:3], b"no picture"], 100, 2, 2)[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_crops_are_many_different_and_always_the_same() -> None:
    crops = photograph_crops()
    assert len(set(crops)) == CROPS
    assert photograph_crops() == crops
