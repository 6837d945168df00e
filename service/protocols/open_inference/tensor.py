"""Parse tensors of the Open Inference Protocol, in JSON or binary, to images and pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.errors import BadRequestError
from service.protocols.tensors import TensorError, decode_base64, flatten, format_path, read_levels

_LENGTH_BYTES = 4
"""Length of the little-endian number before each element of binary BYTES."""


def read_json_images(data: Any, shape: Sequence[int], field: str) -> tuple[list[bytes], list[str]]:
    """Return the elements of a BYTES tensor in JSON, and the path of each.

    Args:
        data: Base64 strings, nested as `shape` says, or flat.
        shape: Whole numbers from 1.
        field: Path of `data` in the request.

    Raises:
        BadRequestError: It is something else.
    """
    sizes = _sizes_of(data, shape)
    try:
        values = flatten(data, sizes)
    except TensorError as error:
        raise _reject_list(error, field) from None
    fields = [field + format_path(index, sizes) for index in range(len(values))]
    return [decode_text(value, at) for value, at in zip(values, fields, strict=True)], fields


def read_json_pixels(data: Any, shape: Sequence[int], field: str) -> NDArray[np.uint8]:
    """Return a UINT8 tensor in JSON.

    Args:
        data: Whole numbers from 0 to 255, nested as `shape` says, or flat.
        shape: Whole numbers from 1.
        field: Path of `data` in the request.

    Raises:
        BadRequestError: It is something else; the message names the first number or list that is wrong.
    """
    try:
        levels = read_levels(data, _sizes_of(data, shape))
    except TensorError as error:
        if error.sizes:
            raise _reject_list(error, field) from None
        found = f"is {error.value}; " if type(error.value) in (int, float) else ""
        message = f"{field}{error.path}: {found}must be a whole number from 0 to 255"
        raise BadRequestError(message) from None
    return np.frombuffer(levels, np.uint8).reshape(shape)


def read_binary_images(raw: memoryview, count: int, field: str) -> list[bytes]:
    """Return the elements of a binary BYTES tensor: for each its length, then its bytes.

    Args:
        raw: The data of the tensor.
        count: Number of elements, from the shape.
        field: Path of the tensor in the request.

    Raises:
        BadRequestError: The data ends too early, or bytes follow the last element.
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
    """Return the bytes of a base64 element.

    Raises:
        BadRequestError: It is something else.
    """
    if not isinstance(value, str | bytes):
        raise BadRequestError(f"{field}: must be a string, an image in base64")
    try:
        return decode_base64(value)
    except ValueError:
        raise BadRequestError(f"{field}: is not base64 (send raw bytes as binary data)") from None


def _sizes_of(data: Any, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of the nested lists in which `data` must come: those of the shape, or one flat list."""
    nested = len(shape) > 1 and isinstance(data, list) and bool(data) and isinstance(data[0], list)
    return tuple(shape) if nested else (math.prod(shape),)


def _reject_list(error: TensorError, field: str) -> BadRequestError:
    found = f"has {len(error.value)} entries; " if isinstance(error.value, list) else ""
    return BadRequestError(f"{field}{error.path}: {found}must be a list of {error.sizes[0]}")
