"""A picture that is made ready in strips has the pixels of one that is made ready as a whole."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.images.resize import upright_rgb

SIZES = [(71, 71), (96, 80)]
MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "L on a colour", "RGB on a colour", "P on colours"]
MANY, TALL, WIDE = (1300, 1100), (700, 2900), (2900, 700)
"""Each of more pixels than one strip."""


@cache
def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    """Return noise; «on a colour» is a mode in which colours are transparent."""
    width, height = size
    noise = np.random.default_rng(20_150).integers(0, 256, (height, width, 4), np.uint8)
    mode, _, transparent = mode.partition(" on ")
    if mode == "I;16":
        return Image.fromarray(noise.view(np.uint16)[..., 0].copy())
    rgba = Image.fromarray(noise)
    image = {
        "RGBA": lambda: rgba,
        "LA": lambda: Image.merge("LA", (rgba.getchannel(0), rgba.getchannel(3))),
        "P": lambda: of_palette(noise[..., 0]),
    }.get(mode, lambda: rgba.convert("RGB").convert(mode))()
    if transparent:
        image.info["transparency"] = {"P": bytes(range(256)), "L": 7, "RGB": (7, 8, 9)}[mode]
    return image


def of_palette(indices: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(indices)).convert("P")
    image.putpalette(np.random.default_rng(1).bytes(768))
    return image


def as_a_whole(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "I;16":
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    return np.asarray(upright.convert("RGB").resize(size, Image.Resampling.BILINEAR))


def assert_the_same(mode: str, shape: tuple[int, int], orientation: int, size: tuple[int, int]) -> None:
    image = picture(mode, shape).copy()
    image.getexif()[0x0112] = orientation
    pixels = np.asarray(upright_rgb(image, size))
    assert pixels.std() > 1
    np.testing.assert_array_equal(pixels, as_a_whole(image, size))


@pytest.mark.parametrize("mode", MODES)
def test_of_every_mode(mode: str) -> None:
    for orientation in (1, 6):
        assert_the_same(mode, MANY, orientation, SIZES[0])
        assert_the_same(mode, (40, 30), orientation, SIZES[0])


@pytest.mark.parametrize("orientation", range(10))
def test_of_every_orientation(orientation: int) -> None:
    for size in SIZES:
        assert_the_same("L", MANY, orientation, size)


@pytest.mark.parametrize("shape", [TALL, WIDE, (40, 30_000), (30_000, 40)])
def test_of_every_shape(shape: tuple[int, int]) -> None:
    for orientation in (1, 3, 6, 7):
        for size in SIZES:
            assert_the_same("RGBA", shape, orientation, size)
