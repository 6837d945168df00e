"""Training and serving must see the same pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from model_store.trust.manifest import InputContract
from service.images.decoder import ImageLimits, decode_image
from training.data import load
from training.errors import DataError
from training.images import decode

LIMITS = ImageLimits(2**24, 10**8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(NOISE, "PNG", exif=exif)


PHOTO = Image.fromarray(sklearn.datasets.load_sample_image("china.jpg"))
NOISE = Image.effect_noise((100, 70), 80)

PICTURES = {
    "digit": load("digits").images[0],
    "photo": encoded(PHOTO, "PNG"),
    "small photo": encoded(PHOTO.resize((130, 90)), "JPEG"),
    "grey": encoded(NOISE, "PNG"),
    "16 bits": encoded(Image.fromarray(np.arange(7000, dtype=np.uint16).reshape(70, 100) * 9), "PNG"),
    "palette": encoded(PHOTO.convert("P"), "PNG"),
    "alpha": encoded(Image.merge("RGBA", (NOISE, NOISE, NOISE, NOISE.transpose(Image.Transpose.ROTATE_180))), "PNG"),
    "turned": rotated(),
    "cmyk": encoded(PHOTO.resize((130, 90)).convert("CMYK"), "JPEG"),
    "gif": encoded(PHOTO.resize((130, 90)), "GIF"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("height", "width"), [(71, 71), (80, 96)])
def test_training_and_serving_decode_alike(name: str, height: int, width: int) -> None:
    ours = decode(PICTURES[name], height, width)
    theirs = decode_image(PICTURES[name], InputContract(height=height, width=width), LIMITS)
    assert ours.shape == (height, width, 3)
    assert ours.std() > 5  # There is something to see.
    np.testing.assert_array_equal(ours, theirs)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(b"no picture", 71, 71)
