"""The images of the load: the photographs that come with scikit-learn, at several sizes."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import orjson
from PIL import Image, ImageOps

SIZES = ((320, 240), (500, 375), (1280, 960), (4000, 3000))
"""Width × height: a thumbnail, an image on a web page, a screen, a phone camera."""

_QUALITY = 85


def photographs() -> list[Path]:
    """Return the files of the photographs."""
    found = find_spec("sklearn")  # Not imported: that would take seconds.
    if found is None or found.origin is None:
        raise RuntimeError("the photographs are those of scikit-learn, which is not installed")
    return sorted((Path(found.origin).parent / "datasets" / "images").glob("*.jpg"))


@cache
def jpegs(size: tuple[int, int]) -> tuple[bytes, ...]:
    """Return the photographs as JPEG files of `size`, width × height; then their mirror images.

    A photograph that is smaller than that is laid side by side, as blowing it up would leave nothing to decode: files
    of 12 megapixels come out at 1.6 to 3.6 MB, as those of a camera do.
    """
    shown = []
    for path in photographs():
        with Image.open(path) as image:
            shown.append(_fill(image.convert("RGB"), size))
    return tuple(_encode(image) for image in (*shown, *map(ImageOps.mirror, shown)))


def _fill(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    width, height = size
    if width <= image.width and height <= image.height:
        return image.resize(size, Image.Resampling.LANCZOS)
    filled = Image.new("RGB", size)
    for top in range(0, height, image.height):
        for left in range(0, width, image.width):
            filled.paste(image, (left, top))
    return filled


def _encode(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


@cache
def predict_body(size: tuple[int, int], instances: int, first: int = 0) -> bytes:
    """Return a predict request in TensorFlow Serving's row format with a number of images of `size`.

    Args:
        size: Width × height.
        instances: Number of images.
        first: Index of the first image.
    """
    files = jpegs(size)
    chosen = [files[(first + index) % len(files)] for index in range(instances)]
    return orjson.dumps({"instances": [{"b64": b64encode(data).decode()} for data in chosen]})
