"""Decode images to the pixels of a model's input contract; opens no file and no socket."""

from __future__ import annotations

import asyncio
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline
from service.core.errors import InvalidImageError, NotReadyError
from service.host.thread_pool import ThreadPool
from service.images.format_limits import check_file, check_size
from service.images.resize import upright_rgb

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
"""Supported formats; of animated images the first frame is used."""

_DRAFT_MARGIN = 2
"""A JPEG is decoded at the smallest of its scales (1, 1/2, 1/4, 1/8) that is at least this many times the target.

For an image of 12 megapixels this saves four fifths of the time; on average a level differs by 0.1 to 1.3 of 255.
"""

_WEBP_WEIGHT = 2
"""Weight of a WebP pixel: libwebp keeps two canvases and returns a third: 16 bytes per pixel with that of Pillow."""

warnings.filterwarnings("ignore", module=r"PIL\.")  # Clients could fill the log with warnings about their images.
Image.MAX_IMAGE_PIXELS = None  # ImageLimits rejects large images, with a message that names the limit.


@dataclass(frozen=True)
class ImageLimits:
    """Limits of one image."""

    max_bytes: int
    """Encoded size."""
    max_pixels: int
    """Width × height, as the file's header says, before anything is decoded; for a WebP half as many."""


def decode_image(data: bytes, contract: InputContract, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode one image: apply the orientation, convert to RGB, resize.

    Transparent parts come out on white. The resize is Pillow's bilinear one, which anti-aliases; training
    uses the same.

    Args:
        data: A JPEG, PNG, GIF, BMP or WebP file.
        contract: The size that the model takes.
        limits: Images over them are rejected.

    Returns:
        Pixels, `uint8 [height, width, 3]`.

    Raises:
        InvalidImageError: Empty, of another format, truncated, or over the limits.
        NotReadyError: There is not enough memory now.
    """
    if not data:
        raise InvalidImageError("the image is empty")
    if len(data) > limits.max_bytes:
        raise InvalidImageError(f"the image has {len(data)} bytes; the limit is {limits.max_bytes}")
    check_file(data, limits.max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "WEBP":
                check_size(*image.size, limits.max_pixels // _WEBP_WEIGHT, " of a WebP")
            check_size(*image.size, limits.max_pixels)
            image.draft(None, (_DRAFT_MARGIN * contract.width, _DRAFT_MARGIN * contract.height))
            image.load()
            return np.asarray(upright_rgb(image, (contract.width, contract.height)))
    except InvalidImageError:
        raise
    except UnidentifiedImageError:
        names = ", ".join(FORMATS)
        raise InvalidImageError(f"the bytes are not an image of a known format ({names})") from None
    except Exception as error:  # Pillow's decoders raise any exception for a broken file.
        if isinstance(error, MemoryError) or "out of memory" in str(error):
            raise NotReadyError("there is not enough memory now to decode the image", reason="memory") from None
        raise InvalidImageError(f"the image cannot be decoded: {error}") from error


class Decoder:
    """Decodes the images of requests in threads; Pillow works outside the interpreter's lock."""

    def __init__(self, threads: int, limits: ImageLimits) -> None:
        self.limits = limits
        self._pool = ThreadPool(threads, "decode")

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()

    async def stop(self) -> None:
        """Stop the threads; queued images are cancelled."""
        await self._pool.stop()

    async def decode(self, images: Sequence[bytes], contract: InputContract, deadline: Deadline) -> NDArray[np.uint8]:
        """Decode the images of one request, in order.

        Returns:
            Pixels, `uint8 [n, height, width, 3]`.

        Raises:
            InvalidImageError: One of them cannot be decoded; its `index` says which.
            NotReadyError: There is not enough memory for one of them now.
            DeadlineExceededError: The deadline passed; images that have not started are not decoded.
        """
        pixels = np.empty((len(images), contract.height, contract.width, 3), np.uint8)

        def decode_into(index: int) -> None:
            deadline.check()
            try:
                pixels[index] = decode_image(images[index], contract, self.limits)
            except InvalidImageError as error:
                error.index = index
                raise

        futures = [self._pool.run(partial(decode_into, index)) for index in range(len(images))]
        try:
            async with asyncio.timeout(deadline.remaining_s()):  # A running thread cannot be stopped.
                for future in futures:
                    await future
        except TimeoutError:
            raise deadline.exceeded() from None
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # Only the first error is reported.
        return pixels
