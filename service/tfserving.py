"""TensorFlow Serving's REST format: requests to images, scores to answers. Pure; no HTTP here.

The format is described in TensorFlow Serving's documentation of its RESTful API: `instances` (row format)
answers with `predictions`, `inputs` (columnar format) with `outputs`; binary values are objects whose only
key is `b64`, and where the signature has a single input its name may be left out.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from .errors import BadRequestError, ModelNotFoundError
from .state import RunnerState, ServedModel, State, VersionStatus

SIGNATURE = "serving_default"
INPUT = "image_bytes"
"""The input of the signature that takes encoded images, in the SavedModel and on the wire."""

_STATES = {
    State.LOADING: "LOADING",
    State.CHECKING: "LOADING",
    State.WARMING: "LOADING",
    State.AVAILABLE: "AVAILABLE",
    State.UNLOADED: "END",
    State.FAILED: "END",
}


@dataclass(frozen=True)
class PredictRequest:
    """A predict request, read."""

    images: list[bytes]
    """Encoded images, in the order of the request."""
    columnar: bool
    """Whether it came as `inputs` and is to be answered with `outputs`."""


def parse_predict(body: bytes, max_instances: int) -> PredictRequest:
    """Read the body of a predict request.

    Raises:
        BadRequestError: The body is not such a request; the message names the field.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise BadRequestError("the request must be a JSON object with 'instances' or 'inputs'")
    signature = document.get("signature_name") or SIGNATURE
    if signature != SIGNATURE:
        raise BadRequestError(f"signature_name: {signature!r} is not served here; {SIGNATURE!r} is")
    row, columnar = "instances" in document, "inputs" in document
    if row and columnar:
        raise BadRequestError("the request has both 'instances' and 'inputs'; only one format may be used")
    if not row and not columnar:
        raise BadRequestError("the request has neither 'instances' nor 'inputs'")
    key = "instances" if row else "inputs"
    values = document[key]
    if columnar and isinstance(values, dict) and set(values) != {"b64"}:
        values = _named(values, key)
    if not isinstance(values, list):
        raise BadRequestError(f"{key}: must be a list of images as {{'b64': '…'}}")
    if not values:
        raise BadRequestError(f"{key}: must not be an empty list")
    if len(values) > max_instances:
        raise BadRequestError(f"{key}: has {len(values)} images; the limit is {max_instances}")
    return PredictRequest([_image(value, f"{key}[{index}]") for index, value in enumerate(values)], columnar)


def format_predict(request: PredictRequest, scores: NDArray[np.float32]) -> bytes:
    """Return the body that answers a predict request.

    Args:
        request: What was asked.
        scores: `float32 [n, classes]`.
    """
    key = "outputs" if request.columnar else "predictions"
    return orjson.dumps({key: scores}, option=orjson.OPT_SERIALIZE_NUMPY)


def require_model(name: str, model: ServedModel) -> None:
    """Compare the model in the URL with the one that is served.

    Raises:
        ModelNotFoundError: It is another one; the text is TensorFlow Serving's.
    """
    if name != model.name:
        raise ModelNotFoundError(f"Servable not found for request: Latest({name})")


def format_status(state: RunnerState, name: str) -> bytes:
    """Return the body that tells the state of a model's versions.

    Raises:
        ModelNotFoundError: There is no such model.
    """
    if name != state.name:
        raise ModelNotFoundError(f"Could not find any versions of model {name}")
    return orjson.dumps({"model_version_status": [_status(version) for version in state.versions]})


def format_metadata(model: ServedModel) -> bytes:
    """Return the body that describes a version: its signatures, and beside TensorFlow Serving's fields its classes."""
    signatures = {
        name: {
            "inputs": {key: _tensor(key, tensor.dtype, tensor.shape) for key, tensor in signature.inputs.items()},
            "outputs": {key: _tensor(key, tensor.dtype, tensor.shape) for key, tensor in signature.outputs.items()},
            "method_name": "tensorflow/serving/predict",
        }
        for name, signature in model.signatures.items()
    }
    return orjson.dumps(
        {
            "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
            "metadata": {
                "signature_def": {"signature_def": signatures},
                "classes": model.classes,
                "input": model.input.model_dump(),
                "variant": model.variant,
            },
        }
    )


def _named(values: dict[str, Any], where: str) -> Any:
    """Return the value of the only input, which may be named."""
    if set(values) != {INPUT}:
        names = ", ".join(sorted(values)) or "none"
        raise BadRequestError(f"{where}: has the inputs {names}; the signature takes {INPUT!r} only")
    return values[INPUT]


def _image(value: Any, where: str) -> bytes:
    if isinstance(value, dict) and set(value) != {"b64"}:
        value = _named(value, where)
    if not isinstance(value, dict) or set(value) != {"b64"}:
        raise BadRequestError(f"{where}: must be an image as {{'b64': '…'}}")
    text = value["b64"]
    if not isinstance(text, str):
        raise BadRequestError(f"{where}.b64: must be a string")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError(f"{where}.b64: is not base64: {error}") from None


def _status(version: VersionStatus) -> dict[str, Any]:
    return {
        "version": str(version.version),
        "state": _STATES[version.state],
        "status": {
            "error_code": "OK" if version.error_code == "OK" else "UNKNOWN",
            "error_message": version.error_message,
        },
    }


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": name}
