"""Parse an inference request of the Open Inference Protocol: JSON, optionally followed by binary data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.core.deadline import Priority
from service.core.errors import BadRequestError
from service.core.serving_state import ModelInfo
from service.http.bounded_json import parse_json
from service.http.request_headers import parse_decimal
from service.protocols.open_inference.models import ModelInput, inputs_of
from service.protocols.open_inference.tensor import (
    decode_text,
    read_binary_images,
    read_binary_pixels,
    read_json_images,
    read_json_pixels,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header with the length of the JSON, in bytes, when binary data follows it."""

_MAX_RANK = 16
"""Sizes in the longest shape that is checked, and quoted in errors; the model's have four."""

_HIGHEST_PRIORITY = 1
"""As in Triton: larger numbers are less urgent, 0 is not set."""


@dataclass(frozen=True)
class RequestedOutput:
    """The format of the scores in the response."""

    name: str
    binary: bool = False
    """As binary data after the JSON."""
    best: int = 0
    """Number of best classes of each image, as `score:index:name`; 0 for the scores of all classes."""


@dataclass(frozen=True)
class InferRequest:
    """A parsed inference request."""

    inputs: list[bytes] | NDArray[np.uint8]
    """Encoded images, or pixels, `uint8 [n, height, width, 3]`."""
    fields: Sequence[str]
    """Path of each encoded image in the request."""
    output: RequestedOutput
    id: str | None = None
    """The client's id of the request; returned with the response."""
    timeout_s: float | None = None
    priority: Priority | None = None


@dataclass(frozen=True)
class _Part:
    """An object of the request, with its path for error messages."""

    content: dict[str, Any]
    field: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, value: Any, field: str) -> _Part:
        if not isinstance(value, dict):
            raise BadRequestError(f"{field or 'the request'}: must be an object")
        parameters = value.get("parameters")
        parameters = {} if parameters is None else parameters
        part = cls(value, field, parameters)
        if not isinstance(parameters, dict):
            raise BadRequestError(f"{part.at('parameters')}: must be an object")
        if "shared_memory_region" in parameters:
            raise BadRequestError(
                f"{part.at('parameters.shared_memory_region')}: shared memory is not supported; send the data itself"
            )
        return part

    def at(self, key: str) -> str:
        return f"{self.field}.{key}" if self.field else key

    def text(self, key: str) -> str:
        value = self.content.get(key)
        if not isinstance(value, str):
            raise BadRequestError(f"{self.at(key)}: must be a string")
        return value

    def number(self, key: str, minimum: int = 0) -> int | None:
        """Return a parameter that is a whole number; None if it is missing or null."""
        value = self.parameters.get(key)
        if value is not None and (type(value) is not int or value < minimum):
            raise BadRequestError(f"{self.at('parameters')}.{key}: must be a whole number from {minimum}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return a parameter that is true or false."""
        value = self.parameters.get(key, default)
        if type(value) is not bool:
            raise BadRequestError(f"{self.at('parameters')}.{key}: must be true or false")
        return value


def parse_header_length(text: str | None, body_bytes: int) -> int | None:
    """Return how many bytes of the body are JSON; None, which means all, without the header.

    Raises:
        BadRequestError: It is not a number, or larger than the body.
    """
    if text is None:
        return None
    length = parse_decimal(text)
    if length is None:
        raise BadRequestError(f"{HEADER_LENGTH}: {text[:99]!r} is not a length")
    if length > body_bytes:
        raise BadRequestError(f"{HEADER_LENGTH}: {text} is more than the {body_bytes} bytes of the body")
    return length


def parse_infer(body: bytes, header_length: int | None, model: ModelInfo, max_images: int) -> InferRequest:
    """Parse an inference request.

    Args:
        body: JSON, optionally followed by the binary data of the tensor; if `header_length` is 0, one encoded image.
        header_length: Bytes of the JSON; None means all.
        model: The version.
        max_images: Limit of images in one request.

    Raises:
        BadRequestError: It is not valid; the message names the field.
        PayloadTooLargeError: Its JSON has too many values.
    """
    choices = inputs_of(model)
    if header_length == 0:
        return _parse_raw(body, choices)
    view = memoryview(body)
    try:
        document = parse_json(view[:header_length])
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the request is not JSON: {error}") from None
    request = _Part.of(document, "")
    tensor, chosen = _choose(request, choices)
    shape = _shape(tensor, chosen, max_images)
    binary = view[len(body) if header_length is None else header_length :]
    inputs, fields = _read(tensor, chosen, shape, binary)
    timeout_us, priority = request.number("timeout"), request.number("priority")
    return InferRequest(
        inputs,
        fields,
        _output(request, chosen.output),
        request.text("id") if request.content.get("id") is not None else None,
        timeout_us / 1_000_000 if timeout_us else None,
        (Priority.INTERACTIVE if priority <= _HIGHEST_PRIORITY else Priority.BULK) if priority else None,
    )


def _parse_raw(body: bytes, choices: dict[str, ModelInput]) -> InferRequest:
    """Return a request whose whole body is one encoded image, as in Triton."""
    images = next((choice for choice in choices.values() if choice.datatype == "BYTES"), None)
    if images is None:
        raise BadRequestError(f"{HEADER_LENGTH}: is 0, and the model takes no encoded images")
    return InferRequest([body], ["the body"], RequestedOutput(images.output))


def _choose(request: _Part, choices: dict[str, ModelInput]) -> tuple[_Part, ModelInput]:
    """Return the only input of a request, and the matching input of the model."""
    inputs, names = request.content.get("inputs"), " or ".join(choices)
    if not isinstance(inputs, list) or len(inputs) != 1:
        found = f"has {len(inputs)} entries; " if isinstance(inputs, list) else ""
        raise BadRequestError(f"inputs: {found}must be a list with one tensor, {names}")
    tensor = _Part.of(inputs[0], "inputs[0]")
    name, datatype = tensor.text("name"), tensor.text("datatype")
    if name not in choices:
        raise BadRequestError(f"inputs[0].name: the model has no input {name!r}; it takes {names}")
    if datatype != choices[name].datatype:
        raise BadRequestError(f"inputs[0].datatype: is {datatype!r}; {name} takes {choices[name].datatype}")
    return tensor, choices[name]


def _shape(tensor: _Part, chosen: ModelInput, max_images: int) -> tuple[int, ...]:
    """Return the shape of the input; it fits the model."""
    field, shape = tensor.at("shape"), tensor.content.get("shape")
    if isinstance(shape, list) and len(shape) > _MAX_RANK:
        raise BadRequestError(f"{field}: has {len(shape)} sizes; the limit is {_MAX_RANK}")
    if not isinstance(shape, list) or any(type(size) is not int or size < 1 for size in shape):
        raise BadRequestError(f"{field}: must be a list of whole numbers from 1")
    expected = list(chosen.tensor.shape[1:])
    if not shape or not (shape[1:] == expected or (chosen.datatype == "BYTES" and shape[1:] == [1])):
        sizes = ", ".join(map(str, ["n", *expected]))
        raise BadRequestError(f"{field}: is {shape}; {chosen.name} takes [{sizes}]")
    if shape[0] > max_images:
        raise BadRequestError(f"{field}: has {shape[0]} images; the limit is {max_images}")
    return tuple(shape)


def _read(
    tensor: _Part, chosen: ModelInput, shape: tuple[int, ...], binary: memoryview
) -> tuple[list[bytes] | NDArray[np.uint8], list[str]]:
    """Return images or pixels, and the path of each image."""
    size = tensor.number("binary_data_size")
    if size is not None and tensor.content.get("data") is not None:
        raise BadRequestError(f"{tensor.at('data')}: stands beside binary_data_size; give one of them")
    if (size or 0) != len(binary):
        raise BadRequestError(
            f"{tensor.at('parameters')}.binary_data_size: is {size or 'missing'}; {len(binary)} bytes follow the JSON "
            f"({HEADER_LENGTH} says where it ends)"
        )
    if size is None:
        if chosen.datatype == "UINT8":
            return read_json_pixels(tensor.content.get("data"), shape, tensor.at("data")), []
        return read_json_images(tensor.content.get("data"), shape, tensor.at("data"))
    if chosen.datatype == "UINT8":
        return read_binary_pixels(binary, shape, tensor.field), []
    images = read_binary_images(binary, shape[0], tensor.field)
    fields = [f"{tensor.field}, element {index}" for index in range(len(images))]
    if tensor.parameters.get("content_type") == "base64":
        images = [decode_text(image, field) for image, field in zip(images, fields, strict=True)]
    return images, fields


def _output(request: _Part, name: str) -> RequestedOutput:
    """Return the requested output; without one, the model's only output."""
    binary = request.flag("binary_data_output", False)
    outputs = request.content.get("outputs")
    if outputs is None or outputs == []:
        return RequestedOutput(name, binary)
    if not isinstance(outputs, list):
        raise BadRequestError("outputs: must be a list")
    parts = [_Part.of(entry, f"outputs[{index}]") for index, entry in enumerate(outputs)]
    for part in parts:
        if part.text("name") != name:
            raise BadRequestError(f"{part.at('name')}: the model has no output {part.text('name')!r}; it has {name}")
    if len(parts) > 1:
        raise BadRequestError(f"outputs[1].name: {name} is asked for twice")
    return RequestedOutput(name, parts[0].flag("binary_data", binary), parts[0].number("classification", 1) or 0)
