"""From an encoded picture to the pixels that the model is trained on.

The service decodes in the same way; a test holds the two together.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import DataError


def decode(encoded: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Decode a picture, turn it upright, put it on white, stretch it to size.

    Args:
        encoded: Any file that Pillow reads; of an animation the first frame counts.
        height: Pixels.
        width: Pixels.

    Returns:
        RGB, `uint8 [height, width, 3]`, resized with Pillow's bilinear filter, which anti-aliases.

    Raises:
        DataError: It cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits a pixel: keep the upper eight.
                levels = np.asarray(upright).astype(np.int64) >> 8
                upright = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
            if upright.has_transparency_data:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            return np.asarray(upright.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    except UnidentifiedImageError:
        raise DataError("cannot be decoded: no image of a known format") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over.
        raise DataError(f"cannot be decoded: {error}") from error


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a grey `uint8 [height, width]` or RGB `uint8 [height, width, 3]` picture as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
