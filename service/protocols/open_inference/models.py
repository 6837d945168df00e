"""The Open Inference Protocol v2, as far as it is about server and models: which one is asked, metadata, states.

Pure, no HTTP. `request.py` and `response.py` are the questions and answers of inference. Texts of errors that
Triton has begin as they do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from model_store.trust.manifest import Tensor
from service.core.errors import BadRequestError, ModelNotFoundError, NotReadyError
from service.core.serving_state import ModelInfo, ModelSpec, RunnerState, VersionState
from service.http.bounded_json import parse_json
from service.version import VERSION

SERVER_NAME: Final = "xception-service"

EXTENSIONS: Final = ("binary_tensor_data", "classification", "schedule_policy")
"""Triton's names of what is taken beyond the protocol."""

DATATYPES: Final = {"DT_STRING": "BYTES", "DT_UINT8": "UINT8", "DT_FLOAT": "FP32"}
"""What the protocol calls TensorFlow's types."""

_PLATFORMS = {"openvino": "openvino_ir", "tensorflow": "tensorflow_savedmodel"}

_VERSION_DIGITS = 19
"""As many as the largest number of 64 bits has."""

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
    """A way to hand images to a version; a request takes one of them."""

    name: str
    tensor: Tensor
    """`DT_STRING [-1]`: encoded images; or `DT_UINT8 [-1, height, width, 3]`: pixels."""
    signature: str
    output: str
    """Name of the scores, `DT_FLOAT [-1, classes]`."""

    @property
    def datatype(self) -> str:
        """Return what the protocol calls its type."""
        return DATATYPES[self.tensor.dtype]


def inputs_of(model: ModelInfo) -> dict[str, ModelInput]:
    """Return the inputs that a request can choose from, by name."""
    found: dict[str, ModelInput] = {}
    for name, signature in model.signatures.items():
        if signature.method != "predict" or len(signature.inputs) != 1 or len(signature.outputs) != 1:
            continue
        [(input_name, tensor)] = signature.inputs.items()
        [(output_name, scores)] = signature.outputs.items()
        takes_images = (tensor.dtype, len(tensor.shape)) in (("DT_STRING", 1), ("DT_UINT8", 4))
        if takes_images and (scores.dtype, len(scores.shape)) == ("DT_FLOAT", 2):
            found.setdefault(input_name, ModelInput(input_name, tensor, name, output_name))
    return found


def parse_target(model: str, version: str | None = None) -> ModelSpec:
    """Return what a path asks for.

    Args:
        model: Name of the model.
        version: A number; what is none is a label, which can never look like one.

    Raises:
        BadRequestError: The number is too large.
    """
    if version is None:
        return ModelSpec(model)
    if not (version.isascii() and version.isdecimal()):
        return ModelSpec(model, label=version)
    if len(version) > _VERSION_DIGITS:
        raise BadRequestError("failed to get model version from specified version string: it is too large a number")
    return ModelSpec(model, int(version))


def require_model(state: RunnerState, target: ModelSpec) -> ModelInfo:
    """Return the version that answers a request.

    Raises:
        NotReadyError: Nothing of this model answers yet, or the version is known but not ready.
        ModelNotFoundError: There is no such model, version or label.
    """
    if model := state.find(target):
        return model
    asked = f"Request for unknown model: '{target.model}'"
    if target.model == state.name and (target.version is not None or target.label is not None):
        version = target.version if target.label is None else state.labels.get(target.label)
        asked += f" version {version if target.label is None else target.label}"
        status = next((status for status in state.versions if status.version == version), None)
        if status and status.state not in (VersionState.AVAILABLE, VersionState.UNLOADED):
            why = f": {status.error_message}" if status.error_message else ""
            raise NotReadyError(f"{asked} is not at ready state ({status.state}{why})")
    return state.require(target, f"{asked} is not found")


def format_server() -> bytes:
    """Return the body that describes the server."""
    return orjson.dumps({"name": SERVER_NAME, "version": VERSION, "extensions": EXTENSIONS})


def format_model(state: RunnerState, model: ModelInfo) -> bytes:
    """Return the body that describes a version.

    The protocol's keys come first; `parameters` and `classes` are this service's own. The inputs are alternatives,
    which the protocol has no word for: each names its signature.
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
    """Return the body that says that a version is ready."""
    return orjson.dumps({"name": model.name, "ready": True})


def parse_index_request(body: bytes) -> bool:
    """Tell whether a request for the index asks only for what is ready.

    Raises:
        BadRequestError: The body is neither empty nor such a request.
        PayloadTooLargeError: It would unfold to too much.
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


def refuse_control(model: str, state: RunnerState) -> BadRequestError | ModelNotFoundError:
    """Return the answer to a request to load or unload a model."""
    if model != state.name:
        return ModelNotFoundError(f"Request for unknown model: '{model}' is not found")
    return BadRequestError(
        "explicit model load / unload is not allowed: versions come and go with the labels in the store "
        f"(`python -m model_store label {model} LABEL VERSION`)"
    )


def _tensor(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[tensor.dtype], "shape": tensor.shape}
