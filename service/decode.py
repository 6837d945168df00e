"""From encoded bytes to the pixels that a model's input contract asks for; opens no file and no socket."""

from __future__ import annotations

import asyncio
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from model_store.manifest import InputContract

from .admission import Permit
from .errors import DeadlineExceededError, InvalidImageError
from .workers import Workers

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
"""What is decoded; of animated pictures the first frame counts."""

_DRAFT_MARGIN = 2
"""A JPEG is decoded at the smallest of its scales (1, 1/2, 1/4, 1/8) that is at least this many times the target.

Of a picture of 12 megapixels this saves four fifths of the time; on average a level differs by 0.1 to 1.3 of 255.
"""

_MOST_SCANS = 200
"""Of a JPEG; progressive ones have about ten. Each passes over all pixels, and takes a few bytes to ask for."""

_MOST_APP1 = 1000
"""Segments of Exif and XMP of a JPEG, of up to 64 KiB; Pillow copies all Exif so far with each of them."""

_SEQUENTIAL, _APP1, _SOI, _EOI, _SOS = (0xC0, 0xC1), 0xE1, 0xD8, 0xD9, 0xDA

_JPEG_MARKER = re.compile(rb"\xff[\x02-\xc7\xc9-\xcf\xd8-\xef\xfe]")
"""The next marker that has a length behind it, or is one of `_SOI` and `_EOI`; FF 00 in a scan is none."""

warnings.filterwarnings("ignore", module=r"PIL\.")  # Callers could fill the log with what is odd about their pictures.
Image.MAX_IMAGE_PIXELS = None  # ImageLimits refuses large pictures, with a message that names the limit.


@dataclass(frozen=True)
class ImageLimits:
    """What one image may take."""

    max_bytes: int
    """Encoded size."""
    max_pixels: int
    """Width × height, as the file's header says, before anything is decoded."""


def decode_image(data: bytes, contract: InputContract, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode one picture: orientation applied, converted to RGB, resized.

    Transparent parts come out on white. The resize is Pillow's bilinear one, which anti-aliases; training
    uses the same.

    Args:
        data: A JPEG, PNG, GIF, BMP or WebP file.
        contract: The size that the model takes.
        limits: What is refused.

    Returns:
        Pixels, `uint8 [height, width, 3]`.

    Raises:
        InvalidImageError: Empty, not such a file, truncated, or beyond the limits.
    """
    if not data:
        raise InvalidImageError("the image is empty")
    if len(data) > limits.max_bytes:
        raise InvalidImageError(f"the image has {len(data)} bytes; the limit is {limits.max_bytes}")
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > limits.max_pixels:
                raise InvalidImageError(
                    f"the image has {image.width} × {image.height} pixels; the limit is {limits.max_pixels} in all"
                )
            size = (contract.width, contract.height)
            image.draft(None, (_DRAFT_MARGIN * contract.width, _DRAFT_MARGIN * contract.height))
            rgb = _to_rgb(ImageOps.exif_transpose(image))
            return np.asarray(rgb.resize(size, Image.Resampling.BILINEAR))
    except InvalidImageError:
        raise
    except UnidentifiedImageError:
        names = ", ".join(FORMATS)
        raise InvalidImageError(f"the bytes are not an image of a known format ({names})") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over.
        raise InvalidImageError(f"the image cannot be decoded: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: keep the upper eight.
        levels = np.asarray(image) >> 8
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _check_jpeg(data: bytes) -> None:
    """Refuse a JPEG that is small and yet takes minutes.

    Raises:
        InvalidImageError: It has too many scans, or segments of Exif; the message names the limit.
    """
    components = b""  # Of a sequential JPEG; one whose first scan holds all of them can have no other.
    scans = segments = at = 0
    while found := _JPEG_MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == _EOI and scans:
            return
        if marker in (_SOI, _EOI):
            continue
        if marker in _SEQUENTIAL:
            components = data[at + 7 : at + 8]
        segments += marker == _APP1
        scans += marker == _SOS
        first = marker == _SOS and scans == 1
        if first and (data[at + 2 : at + 3] == components or data.count(b"\xff\xda", at) < _MOST_SCANS):
            return
        if scans > _MOST_SCANS or segments > _MOST_APP1:
            raise InvalidImageError(
                f"the image has more scans or segments of Exif than a JPEG needs; the limits are {_MOST_SCANS} and "
                f"{_MOST_APP1}"
            )
        at += int.from_bytes(data[at : at + 2], "big")


class Decoder:
    """Decodes the images of requests in threads; Pillow works outside the interpreter's lock."""

    def __init__(self, threads: int, limits: ImageLimits) -> None:
        self.limits = limits
        self._workers = Workers(threads, "decode")

    def start(self) -> None:
        """Start the threads."""
        self._workers.start()

    async def stop(self) -> None:
        """End the threads; images that wait are let go."""
        await self._workers.stop()

    async def decode(self, images: Sequence[bytes], contract: InputContract, permit: Permit) -> NDArray[np.uint8]:
        """Decode the images of one request, in order.

        Returns:
            Pixels, `uint8 [n, height, width, 3]`.

        Raises:
            InvalidImageError: One of them cannot be decoded; its `index` says which.
            DeadlineExceededError: The deadline passed; images not yet begun are left alone.
        """
        pixels = np.empty((len(images), contract.height, contract.width, 3), np.uint8)

        def decode_into(index: int) -> None:
            permit.deadline.check()
            try:
                pixels[index] = decode_image(images[index], contract, self.limits)
            except InvalidImageError as error:
                error.index = index
                raise

        futures = [self._workers.run(partial(decode_into, index)) for index in range(len(images))]
        try:
            async with asyncio.timeout(permit.deadline.remaining_s()):  # No thread can be made to stop.
                for future in futures:
                    await future
        except TimeoutError:
            raise DeadlineExceededError(
                f"the deadline of {permit.deadline.timeout_s * 1000:.0f} ms has passed"
            ) from None
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # The first error is the one that is told; the others have been seen.
        return pixels
