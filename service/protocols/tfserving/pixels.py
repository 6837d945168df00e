"""Pixels that stand in a request as nested lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.protocols.tfserving.body import Element, wrong_type


def read_pixels(elements: Sequence[Element], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the pixels of several images.

    Args:
        elements: Each `[height][width][3]` of whole numbers from 0 to 255.
        shape: Height, width and 3: what the model takes.

    Returns:
        `uint8 [n, height, width, 3]`, read-only.

    Raises:
        BadRequestError: One of them is something else; the message names the first number or list that is wrong.
    """
    levels = b"".join(_levels(element, shape) for element in elements)
    return np.frombuffer(levels, np.uint8).reshape(len(elements), *shape)


def _levels(element: Element, shape: tuple[int, int, int]) -> bytes:
    """Return the numbers of one image in a row, by few passes over all of them that Python makes in C."""
    values = [element.value]
    for size in shape:
        if set(map(type, values)) != {list} or set(map(len, values)) != {size}:
            _find_fault(element, element.value, shape, "")
        values = list(chain.from_iterable(values))
    if set(map(type, values)) == {int}:  # And no bool, which is an int, too.
        try:
            return bytes(values)
        except (ValueError, OverflowError):  # Below 0 or above 255.
            pass
    _find_fault(element, element.value, shape, "")
    raise AssertionError(f"{element.field}: the fault was not found again")


def _find_fault(element: Element, value: Any, shape: tuple[int, ...], at: str) -> None:
    """Raise the first fault, in the order of the request."""
    if shape:
        if not isinstance(value, list):
            sizes = " × ".join(map(str, shape))
            raise element.refuse("", f"must be {sizes} numbers in nested lists", at)
        if len(value) != shape[0]:
            raise element.refuse("", f"has {len(value)} entries; the signature takes {shape[0]}", at)
        for index, inner in enumerate(value):
            _find_fault(element, inner, shape[1:], f"{at}[{index}]")
    elif type(value) is not int:
        text = wrong_type(value, "uint8") if not isinstance(value, list) else ""
        raise element.refuse(text, "must be a whole number from 0 to 255", at)
    elif not 0 <= value <= 255:
        raise element.refuse("", f"is {value}; must be a whole number from 0 to 255", at)
