"""Read tensors that stand in JSON: base64 text, and nested lists of numbers. Error messages are the protocols' own.

Large lists are checked by a few passes that Python runs in C; a loop over a million numbers would block the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from pybase64 import b64decode

from model_store.trust.manifest import Tensor

_LEVELS = frozenset(range(256))
"""Valid values of a pixel."""


class TensorError(ValueError):
    """The first value in nested lists that does not fit the shape of the tensor."""

    def __init__(self, path: str, value: Any, sizes: Sequence[int]) -> None:
        """Keep its indices, as in `[3][7]`, and the sizes of the lists that are expected there; none for a number."""
        super().__init__(path)
        self.path, self.value, self.sizes = path, value, tuple(sizes)


def is_image_input(tensor: Tensor) -> bool:
    """Return whether a tensor holds encoded images, `[n]`, or pixels, `[n, height, width, 3]`."""
    return (tensor.dtype, len(tensor.shape)) in (("DT_STRING", 1), ("DT_UINT8", 4))


def decode_base64(text: str | bytes) -> bytes:
    """Return the bytes that padded base64 without line breaks encodes.

    Raises:
        ValueError: `text` is not valid base64.
    """
    return b64decode(text, validate=True)


def flatten(value: Any, sizes: Sequence[int]) -> list[Any]:
    """Return the elements of nested lists in row-major order.

    Raises:
        TensorError: A list is missing, or has another size.
    """
    values = [value]
    for depth, size in enumerate(sizes):
        if set(map(type, values)) != {list} or set(map(len, values)) != {size}:
            index = next(index for index, value in enumerate(values) if type(value) is not list or len(value) != size)
            raise TensorError(format_path(index, sizes[:depth]), values[index], sizes[depth:])
        values = list(chain.from_iterable(values))
    return values


def read_levels(value: Any, sizes: Sequence[int]) -> bytes:
    """Return the pixels in nested lists of whole numbers from 0 to 255, one byte each, in row-major order.

    Raises:
        TensorError: A list is missing or has another size, or an element is not a whole number from 0 to 255.
    """
    values = flatten(value, sizes)
    if set(map(type, values)) == {int}:  # A bool is an int, too, but of another type.
        with suppress(ValueError, OverflowError):  # Below 0 or above 255.
            return bytes(values)
    index = _first_invalid(values)
    raise TensorError(format_path(index, sizes), values[index], ())


def format_path(index: int, sizes: Sequence[int]) -> str:
    """Return the indices of an element of nested lists, as in `[3][7]`, from its row-major index."""
    return "".join(f"[{step}]" for step in np.unravel_index(index, tuple(sizes))) if sizes else ""


def _first_invalid(values: list[Any]) -> int:
    """Return the index of the first value that is not a whole number from 0 to 255; there is one."""
    types = list(map(type, values))
    end = min(map(types.index, set(types) - {int}), default=len(values))
    fits = list(map(_LEVELS.__contains__, values[:end]))
    return end if all(fits) else fits.index(False)
