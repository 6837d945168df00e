"""The pictures that the load is made of: the photographs that come with scikit-learn, at several sizes."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache
from pathlib import Path

import orjson
import sklearn.datasets
from PIL import Image

SIZES = ((320, 240), (500, 375), (1280, 960), (4000, 3000))
"""Width × height: a thumbnail, a picture of a web page, of a screen, of a telephone's camera."""

_QUALITY = 85


def photographs() -> list[Path]:
    """Return the files of the photographs."""
    return sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


@cache
def jpegs(size: tuple[int, int]) -> tuple[bytes, ...]:
    """Return the photographs as JPEG files of `size`, width × height."""
    encoded = []
    for path in photographs():
        out = io.BytesIO()
        with Image.open(path) as image:
            image.resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=_QUALITY)
        encoded.append(out.getvalue())
    return tuple(encoded)


@cache
def predict_body(size: tuple[int, int], instances: int) -> bytes:
    """Return a predict request in TensorFlow Serving's row format with so many pictures of `size`."""
    files = jpegs(size)
    chosen = [files[index % len(files)] for index in range(instances)]
    return orjson.dumps({"instances": [{"b64": b64encode(data).decode()} for data in chosen]})
