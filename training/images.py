"""Decode images to the pixels that the model is trained on.

The service decodes in the same way; a test compares both.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import DataError


def decode(encoded: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Decode an image, apply its EXIF orientation, put it on a white background, and resize it.

    Args:
        encoded: A file in any format that Pillow reads; the first frame of an animation.
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Returns:
        RGB, `uint8 [height, width, 3]`, resized with Pillow's bilinear filter, which antialiases.

    Raises:
        DataError: The image cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits per pixel: keep the upper eight.
                levels = np.asarray(upright).astype(np.int64) >> 8
                upright = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
            if upright.has_transparency_data:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            return np.asarray(upright.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    except UnidentifiedImageError:
        raise DataError("cannot be decoded: no image of a known format") from None
    except Exception as error:  # Pillow's decoders raise arbitrary exceptions for broken files.
        raise DataError(f"cannot be decoded: {error}") from error


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a grey `uint8 [height, width]` or RGB `uint8 [height, width, 3]` image as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
