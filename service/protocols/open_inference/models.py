"""Resolve versions, and format metadata and states, as the Open Inference Protocol v2 defines.

No HTTP here. `request.py` and `response.py` have the requests and responses of inference. Error messages that Triton
has, too, begin as they do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from model_store.trust.manifest import Tensor
from service.core.errors import BadRequestError, ModelNotFoundError, NotReadyError
from service.core.serving_state import ModelInfo, ModelSpec, RunnerState, VersionState
from service.http.bounded_json import parse_json
from service.protocols.tensors import is_image_input
from service.version import VERSION

SERVER_NAME: Final = "xception-service"

EXTENSIONS: Final = ("binary_tensor_data", "classification", "schedule_policy")
"""Triton's names of the supported extensions."""

DATATYPES: Final = {"DT_STRING": "BYTES", "DT_UINT8": "UINT8", "DT_FLOAT": "FP32"}
"""The protocol's names of TensorFlow's types."""

_PLATFORMS = {"openvino": "openvino_ir", "tensorflow": "tensorflow_savedmodel"}

_MAX_VERSION_DIGITS = 19
"""Digits of the largest 64-bit number."""

_STATES = {
    VersionState.PULLING: "LOADING",
    VersionState.LOADING: "LOADING",
    VersionState.WARMING: "LOADING",
    VersionState.CHECKING: "LOADING",
    VersionState.AVAILABLE: "READY",
    VersionState.DRAINING: "UNLOADING",
    VersionState.UNLOADED: "UNAVAILABLE",
    VersionState.FAILED: "UNAVAILABLE",
}
"""Triton's names of the states."""


@dataclass(frozen=True)
class ModelInput:
    """An input that takes images; a request has exactly one."""

    name: str
    tensor: Tensor
    """`DT_STRING [-1]`: encoded images; or `DT_UINT8 [-1, height, width, 3]`: pixels."""
    signature: str
    output: str
    """Name of the scores, `DT_FLOAT [-1, classes]`."""

    @property
    def datatype(self) -> str:
        """Return the protocol's name of its type."""
        return DATATYPES[self.tensor.dtype]


def inputs_of(model: ModelInfo) -> dict[str, ModelInput]:
    """Return the inputs of a version that take images, by name."""
    found: dict[str, ModelInput] = {}
    for name, signature in model.signatures.items():
        if signature.method != "predict" or len(signature.inputs) != 1 or len(signature.outputs) != 1:
            continue
        [(input_name, tensor)] = signature.inputs.items()
        [(output_name, scores)] = signature.outputs.items()
        if is_image_input(tensor) and (scores.dtype, len(scores.shape)) == ("DT_FLOAT", 2):
            found.setdefault(input_name, ModelInput(input_name, tensor, name, output_name))
    return found


def parse_target(model: str, version: str | None = None) -> ModelSpec:
    """Return the model and version of a path.

    Args:
        model: Name of the model.
        version: A number, or a label, which never looks like a number.

    Raises:
        BadRequestError: The number is too large.
    """
    if version is None:
        return ModelSpec(model)
    if not (version.isascii() and version.isdecimal()):
        return ModelSpec(model, label=version)
    if len(version) > _MAX_VERSION_DIGITS:
        raise BadRequestError("failed to get model version from specified version string: it is too large a number")
    return ModelSpec(model, int(version))


def require_model(state: RunnerState, target: ModelSpec) -> ModelInfo:
    """Return the version for a request.

    Raises:
        NotReadyError: No version of this model is available yet, or this one is not ready.
        ModelNotFoundError: There is no such model, version or label.
    """
    if model := state.find(target):
        return model
    requested = f"Request for unknown model: '{target.model}'"
    if target.model == state.name and (target.version is not None or target.label is not None):
        version = target.version if target.label is None else state.labels.get(target.label)
        requested += f" version {version if target.label is None else target.label}"
        status = next((status for status in state.versions if status.version == version), None)
        if status and status.state not in (VersionState.AVAILABLE, VersionState.UNLOADED):
            reason = f": {status.error_message}" if status.error_message else ""
            raise NotReadyError(f"{requested} is not at ready state ({status.state}{reason})")
    return state.require(target, f"{requested} is not found")


def format_server() -> bytes:
    """Return the body that describes the server."""
    return orjson.dumps({"name": SERVER_NAME, "version": VERSION, "extensions": EXTENSIONS})


def format_model(state: RunnerState, model: ModelInfo) -> bytes:
    """Return the body that describes a version.

    `parameters` and `classes` are additions of this service to the protocol. The inputs are alternatives, which the
    protocol cannot express: each names its signature.
    """
    inputs = inputs_of(model)
    outputs = {entry.output: model.signatures[entry.signature].outputs[entry.output] for entry in inputs.values()}
    contract = model.input
    return orjson.dumps(
        {
            "name": model.name,
            "versions": [str(version) for version in sorted(served.version for served in state.served)],
            "platform": _PLATFORMS[model.variant.partition("/")[0]],
            "inputs": [
                {**_tensor(entry.name, entry.tensor), "parameters": {"signature": entry.signature}}
                for entry in inputs.values()
            ],
            "outputs": [_tensor(name, tensor) for name, tensor in outputs.items()],
            "parameters": {
                "version": str(model.version),
                "labels": ",".join(model.labels),
                "digest": model.digest,
                "variant": model.variant,
                "height": contract.height,
                "width": contract.width,
                "color": contract.color,
                "resize": contract.resize,
                "antialias": contract.antialias,
            },
            "classes": model.classes,
        }
    )


def format_ready(model: ModelInfo) -> bytes:
    """Return the body for a version that is ready."""
    return orjson.dumps({"name": model.name, "ready": True})


def parse_index_request(body: bytes) -> bool:
    """Return whether a request for the index is for ready versions only.

    Raises:
        BadRequestError: The body is neither empty nor such a request.
        PayloadTooLargeError: It has too many values.
    """
    if not body:
        return False
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict) or type(document.get("ready", False)) is not bool:
        raise BadRequestError("ready: must be true or false, in an object")
    return bool(document.get("ready", False))


def format_index(state: RunnerState, ready_only: bool) -> bytes:
    """Return the body that lists the versions with their states, the highest first, as Triton's repository index."""
    entries: list[dict[str, Any]] = [
        {
            "name": state.name,
            "version": str(status.version),
            "state": _STATES[status.state],
            "reason": status.error_message or ("" if status.state == VersionState.AVAILABLE else str(status.state)),
        }
        for status in state.versions
    ]
    if not entries:
        entries = [{"name": state.name, "state": "UNAVAILABLE", "reason": state.waiting_for or ""}]
    return orjson.dumps([entry for entry in entries if entry["state"] == "READY" or not ready_only])


def reject_control(model: str, state: RunnerState) -> BadRequestError | ModelNotFoundError:
    """Return the error for a request to load or unload a model."""
    if model != state.name:
        return ModelNotFoundError(f"Request for unknown model: '{model}' is not found")
    return BadRequestError(
        "explicit model load / unload is not allowed: versions come and go with the labels in the store "
        f"(`python -m model_store label {model} LABEL VERSION`)"
    )


def _tensor(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[tensor.dtype], "shape": tensor.shape}
