"""Orient, convert to RGB and resize an image, in strips, to save memory.

Orientation, conversion and composition on white take a copy each; for a whole image these are 16 bytes per pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

_STRIP = 2**20
"""Pixels of a strip; smaller images are one strip."""

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transpose for each Exif orientation; 1 is upright."""

_Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


def upright_rgb(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Apply the Exif orientation, compose on white, convert to RGB, and resize (bilinear).

    Args:
        image: Of any mode; not modified.
        size: Width and height of the returned image.

    Returns:
        The same pixels as if each step were applied to the whole image.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation not in _TRANSPOSES:
        orientation = 1
    if orientation == 1 and _is_rgb(image):
        return image.resize(size, Image.Resampling.BILINEAR)
    width, height = image.size if orientation < 5 else image.size[::-1]
    if width * height <= _STRIP:
        return _oriented(image, orientation).resize(size, Image.Resampling.BILINEAR)
    by_columns = _columns_first((width, height), size)
    intermediate = Image.new("RGB", (width, size[1]) if by_columns else (size[0], height))
    for box in _strips(width, height, by_columns):
        left, top, right, bottom = box
        strip = _oriented(image.crop(_stored_box(box, image.size, orientation)), orientation)
        resized = (right - left, size[1]) if by_columns else (size[0], bottom - top)
        intermediate.paste(strip.resize(resized, Image.Resampling.BILINEAR), (left, top))
    return intermediate.resize(size, Image.Resampling.BILINEAR)


def _oriented(image: Image.Image, orientation: int) -> Image.Image:
    return _to_rgb(image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image)


def _is_rgb(image: Image.Image) -> bool:
    return image.mode == "RGB" and not image.has_transparency_data


def _to_rgb(image: Image.Image) -> Image.Image:
    if _is_rgb(image):
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel: keep the upper eight.
        levels = np.asarray(image) >> 8
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _columns_first(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Return whether Pillow's resize would process the columns first; the order makes a difference of 1 of 255."""
    shorter = before[1] - after[1]
    return shorter > 0 and shorter > 2 * (before[0] - after[0])


def _strips(width: int, height: int, by_columns: bool) -> Iterator[_Box]:
    if by_columns:
        step = max(1, _STRIP // height)
        for left in range(0, width, step):
            yield left, 0, min(left + step, width), height
    else:
        step = max(1, _STRIP // width)
        for top in range(0, height, step):
            yield 0, top, width, min(top + step, height)


def _stored_box(box: _Box, size: tuple[int, int], orientation: int) -> _Box:
    """Return the box in the stored image, which has this size, of a box in the oriented image."""
    left, top, right, bottom = box
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 7, 8):
        left, right = size[0] - right, size[0] - left
    if orientation in (3, 4, 6, 7):
        top, bottom = size[1] - bottom, size[1] - top
    return left, top, right, bottom
