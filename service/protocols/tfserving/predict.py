"""Parse requests of TensorFlow Serving's predict, and format their responses.

The response to `instances` (row format) has `predictions`, that to `inputs` (columnar format) has `outputs`. Binary
values are objects whose only key is `b64`. The name of a signature's only input may be omitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_store.trust.manifest import Signature, Tensor
from service.core.errors import BadRequestError
from service.protocols.tensors import is_image_input
from service.protocols.tfserving.body import DEFAULT_SIGNATURE, Element, is_b64, quote, read_image
from service.protocols.tfserving.pixels import read_pixels


@dataclass(frozen=True)
class PredictRequest:
    """A parsed predict request."""

    inputs: list[bytes] | NDArray[np.uint8]
    """Encoded images, or pixels, `uint8 [n, height, width, 3]`, in the order of the request."""
    fields: list[str]
    """Path of each of them in the request."""
    columnar: bool
    """Whether it has `inputs`, and its response `outputs`."""


def parse_predict(document: dict[str, Any], signatures: Mapping[str, Signature], max_images: int) -> PredictRequest:
    """Parse a predict request.

    Args:
        document: The body, as `parse_body` returned it.
        signatures: Of the version.
        max_images: Limit of images in one request.

    Raises:
        BadRequestError: It is not valid; with TensorFlow Serving's message where it has one.
    """
    name, tensor = _input(document.get("signature_name") or DEFAULT_SIGNATURE, signatures)
    columnar = "inputs" in document
    if columnar and "instances" in document:
        raise BadRequestError(  # The space at the end is TensorFlow Serving's.
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if columnar:
        elements = _columnar(document["inputs"], name, max_images)
    elif "instances" in document:
        elements = _rows(document, name, max_images)
    else:
        raise BadRequestError("Missing 'inputs' or 'instances' key")
    if tensor.dtype == "DT_STRING":
        inputs: list[bytes] | NDArray[np.uint8] = [read_image(element) for element in elements]
    else:
        height, width, channels = tensor.shape[1:]
        inputs = read_pixels(elements, (height, width, channels))
    return PredictRequest(inputs, [element.field for element in elements], columnar)


def format_predict(request: PredictRequest, scores: NDArray[np.float32]) -> bytes:
    """Return the body of a predict response.

    Args:
        request: The parsed request.
        scores: `float32 [n, classes]`; the only output, and therefore without its name.
    """
    key = "outputs" if request.columnar else "predictions"
    return orjson.dumps({key: scores}, option=orjson.OPT_SERIALIZE_NUMPY)


def _input(signature_name: str, signatures: Mapping[str, Signature]) -> tuple[str, Tensor]:
    """Return the only input of a signature, and its name."""
    signature = signatures.get(signature_name)
    if signature is None:
        raise BadRequestError(f'Serving signature name: "{signature_name}" not found in signature def')
    if signature.method != "predict":
        raise BadRequestError(
            f"signature_name: {signature_name!r} is for {signature.method} and takes serialized examples; "
            f"ask it by ':{signature.method}', or take another one here"
        )
    inputs = [(name, tensor) for name, tensor in signature.inputs.items() if is_image_input(tensor)]
    if len(inputs) != 1 or len(signature.inputs) != 1:
        raise BadRequestError(f"signature_name: {signature_name!r} takes neither images nor pixels; it is not run here")
    return inputs[0]


def _rows(document: dict[str, Any], name: str, max_images: int) -> list[Element]:
    """Return the values of `instances`; either all of them are named, or none."""
    rows = document["instances"]
    if not isinstance(rows, list):
        raise BadRequestError(f"JSON Value: {quote(document)} Excepting 'instances' to be an list/array")
    if not rows:
        raise BadRequestError(f"JSON Value: {quote(document)} No values in 'instances' array")
    _limit(len(rows), "instances", max_images)
    named = _is_named(rows[0])
    elements = []
    for index, row in enumerate(rows):
        field = f"instances[{index}]"
        if _is_named(row) != named:
            expected, found = ("object", "list") if named else ("value/list", "object")
            raise BadRequestError(f"Expecting {expected} but got {found} at item {index} of input list")
        elements.append(_named(row, name, index) if named else Element(row, field, _blame(index)))
    return elements


def _named(row: dict[str, Any], name: str, index: int) -> Element:
    for key in row:
        if key != name:
            raise BadRequestError(f"{_blame(index, key)}JSON object: does not have named input: {key}")
    if name not in row:
        raise BadRequestError(
            f"Failed to process element: {index} of 'instances' list. JSON object: {quote(row)} keys must be equal "
            f"to: {name}"
        )
    return Element(row[name], f"instances[{index}].{name}", _blame(index, name))


def _columnar(value: Any, name: str, max_images: int) -> list[Element]:
    """Return the values of `inputs`; a single value is a batch of one."""
    field = "inputs"
    if _is_named(value):
        if name not in value:
            raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
        field, value = f"inputs.{name}", value[name]
    if not isinstance(value, list):
        return [Element(value, field)]
    if not value:
        raise BadRequestError(f"{field}: must not be an empty list")
    _limit(len(value), field, max_images)
    return [Element(entry, f"{field}[{index}]") for index, entry in enumerate(value)]


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_b64(value)


def _blame(index: int, key: str | None = None) -> str:
    where = f"{index} key: {key}" if key is not None else str(index)
    return f"Failed to process element: {where} of 'instances' list. Error: INVALID_ARGUMENT: "


def _limit(images: int, field: str, max_images: int) -> None:
    if images > max_images:
        raise BadRequestError(f"{field}: has {images} images; the limit is {max_images}")
