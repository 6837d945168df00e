"""Pixels in a TensorFlow Serving request: nested lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.core.errors import BadRequestError
from service.protocols.tensors import TensorError, read_levels
from service.protocols.tfserving.body import Element, wrong_type


def read_pixels(elements: Sequence[Element], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the pixels of several images.

    Args:
        elements: Each `[height][width][3]` of whole numbers from 0 to 255.
        shape: Height, width and 3: the input of the model.

    Returns:
        `uint8 [n, height, width, 3]`, read-only.

    Raises:
        BadRequestError: An element is something else; the message names the first number or list that is wrong.
    """
    images: list[bytes] = []
    for element in elements:
        try:
            images.append(read_levels(element.value, shape))
        except TensorError as error:
            raise _reject(element, error) from None
    return np.frombuffer(b"".join(images), np.uint8).reshape(len(elements), *shape)


def _reject(element: Element, error: TensorError) -> BadRequestError:
    value = error.value
    if error.sizes and isinstance(value, list):
        return element.reject("", f"has {len(value)} entries; the signature takes {error.sizes[0]}", error.path)
    if error.sizes:
        return element.reject("", f"must be {' × '.join(map(str, error.sizes))} numbers in nested lists", error.path)
    if type(value) is int:
        return element.reject("", f"is {value}; must be a whole number from 0 to 255", error.path)
    text = "" if isinstance(value, list) else wrong_type(value, "uint8")
    return element.reject(text, "must be a whole number from 0 to 255", error.path)
