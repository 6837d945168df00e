"""The tensors of the Open Inference Protocol: from JSON, or from the binary data behind it, to images and pixels."""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.errors import BadRequestError

_LENGTH_BYTES = 4
"""Of the little-endian number before each element of binary BYTES."""

_LEVELS = frozenset(range(256))
"""What a pixel may be."""


def read_json_images(data: Any, shape: Sequence[int], field: str) -> tuple[list[bytes], list[str]]:
    """Return the elements of a BYTES tensor in JSON, and where each of them stands.

    Args:
        data: Texts in base64, nested as `shape` says, or flat.
        shape: Whole numbers from 1.
        field: Where `data` stands in the request.

    Raises:
        BadRequestError: It is something else.
    """
    values, sizes = _flatten(data, shape, field)
    fields = [_path(field, index, sizes) for index in range(len(values))]
    return [decode_text(value, at) for value, at in zip(values, fields, strict=True)], fields


def read_json_pixels(data: Any, shape: Sequence[int], field: str) -> NDArray[np.uint8]:
    """Return a UINT8 tensor that stands in JSON.

    Args:
        data: Whole numbers from 0 to 255, nested as `shape` says, or flat.
        shape: Whole numbers from 1.
        field: Where `data` stands in the request.

    Raises:
        BadRequestError: It is something else; the message names the first number or list that is wrong.
    """
    values, sizes = _flatten(data, shape, field)
    if set(map(type, values)) == {int}:  # And no bool, which is an int, too.
        try:
            return np.frombuffer(bytes(values), np.uint8).reshape(shape)
        except (ValueError, OverflowError):  # Below 0 or above 255.
            pass
    index = _first_fault(values)
    found = f"is {values[index]}; " if type(values[index]) in (int, float) else ""
    raise BadRequestError(f"{_path(field, index, sizes)}: {found}must be a whole number from 0 to 255")


def read_binary_images(raw: memoryview, count: int, field: str) -> list[bytes]:
    """Return the elements of a BYTES tensor in binary: each its length, then as many bytes.

    Args:
        raw: The data of the tensor.
        count: How many elements the shape says there are.
        field: Where the tensor stands in the request.

    Raises:
        BadRequestError: The data ends too early, or goes on behind the last element.
    """
    elements: list[bytes] = []
    at = 0
    for index in range(count):
        begin = at + _LENGTH_BYTES
        if begin > len(raw):
            raise BadRequestError(f"{field}: the binary data ends before element {index} of {count}")
        size = int.from_bytes(raw[at:begin], "little")
        at = begin + size
        if at > len(raw):
            raise BadRequestError(
                f"{field}: element {index} of the binary data says it has {size} bytes; {len(raw) - begin} are left"
            )
        elements.append(bytes(raw[begin:at]))
    if at != len(raw):
        raise BadRequestError(
            f"{field}: {len(raw) - at} bytes of the binary data are left over behind {count} elements"
        )
    return elements


def read_binary_pixels(raw: memoryview, shape: Sequence[int], field: str) -> NDArray[np.uint8]:
    """Return a UINT8 tensor from its binary data, without a copy.

    Raises:
        BadRequestError: The data is not as long as the shape says.
    """
    if len(raw) != math.prod(shape):
        raise BadRequestError(f"{field}: has {len(raw)} bytes of binary data; the shape says {math.prod(shape)}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def decode_text(value: Any, field: str) -> bytes:
    """Return the bytes of an element that is text in base64.

    Raises:
        BadRequestError: It is something else.
    """
    if not isinstance(value, str | bytes):
        raise BadRequestError(f"{field}: must be a string, an image in base64")
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise BadRequestError(f"{field}: is not base64 (send raw bytes as binary data)") from None


def _flatten(data: Any, shape: Sequence[int], field: str) -> tuple[list[Any], tuple[int, ...]]:
    """Return the elements in a row, and the sizes of the lists they stood in, by few passes that Python makes in C."""
    nested = len(shape) > 1 and isinstance(data, list) and bool(data) and isinstance(data[0], list)
    sizes = tuple(shape) if nested else (math.prod(shape),)
    values = [data]
    for depth, size in enumerate(sizes):
        if set(map(type, values)) != {list} or set(map(len, values)) != {size}:
            index = next(index for index, value in enumerate(values) if type(value) is not list or len(value) != size)
            found = f"has {len(values[index])} entries; " if type(values[index]) is list else ""
            raise BadRequestError(f"{_path(field, index, sizes[:depth])}: {found}must be a list of {size}")
        values = list(chain.from_iterable(values))
    return values, sizes


def _path(field: str, index: int, sizes: tuple[int, ...]) -> str:
    """Return where the element `index` of nested lists stands."""
    steps = np.unravel_index(index, sizes) if sizes else ()
    return field + "".join(f"[{step}]" for step in steps)


def _first_fault(values: list[Any]) -> int:
    """Return the index of the first value that is no whole number from 0 to 255; there is one."""
    types = list(map(type, values))
    end = min(map(types.index, set(types) - {int}), default=len(values))
    fits = list(map(_LEVELS.__contains__, values[:end]))
    return end if all(fits) else fits.index(False)
