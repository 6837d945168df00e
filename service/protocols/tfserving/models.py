"""TensorFlow Serving's REST format, as far as it is about versions: which one is asked, status, metadata.

Pure, no HTTP. `predict.py` and `classify.py` are the questions and answers of inference. Texts of
errors are TensorFlow Serving's, word for word.
"""

from __future__ import annotations

from typing import Any

import orjson

from service.core.errors import BadRequestError, ModelNotFoundError
from service.core.serving_state import ModelInfo, ModelSpec, RunnerState, VersionState, VersionStatus

_INT64_MAX = 2**63 - 1
_INT64_DIGITS = 19

_STATES = {
    VersionState.PULLING: "START",
    VersionState.LOADING: "LOADING",
    VersionState.WARMING: "LOADING",
    VersionState.CHECKING: "LOADING",
    VersionState.AVAILABLE: "AVAILABLE",
    VersionState.DRAINING: "UNLOADING",
    VersionState.UNLOADED: "END",
    VersionState.FAILED: "END",
}


def parse_target(model: str, version: str | None = None, label: str | None = None) -> ModelSpec:
    """Return what a path asks for.

    Args:
        model: Name of the model.
        version: Digits.
        label: A label of a version.

    Raises:
        BadRequestError: The version is too large for a number of 64 bits.
    """
    if version is None:
        return ModelSpec(model, label=label)
    digits = version.lstrip("0") or "0"
    if len(digits) > _INT64_DIGITS or int(digits) > _INT64_MAX:
        raise BadRequestError(f"Failed to convert version: {version} to numeric.")
    return ModelSpec(model, int(digits))


def require_model(state: RunnerState, target: ModelSpec) -> ModelInfo:
    """Return the version that answers a request.

    Raises:
        NotReadyError: Nothing of this model answers yet.
        ModelNotFoundError: There is no such model or version, or the one that the label leads to does not answer.
        BadRequestError: There is no such label; TensorFlow Serving has it so.
    """
    version = target.version if target.label is None else state.labels.get(target.label)
    wanted = f"Latest({target.model})" if version is None else f"Specific({target.model}, {version})"
    try:
        return state.require(target, f"Servable not found for request: {wanted}")
    except ModelNotFoundError:
        _require_label(state, target)
        raise


def format_status(state: RunnerState, target: ModelSpec) -> bytes:
    """Return the body that tells the state of a model's versions, or of the one that was asked for.

    Raises:
        ModelNotFoundError: There is no such model or version.
        BadRequestError: There is no such label.
    """
    _require_label(state, target)
    version = target.version if target.label is None else state.labels[target.label]
    if target.model != state.name:
        missing = f"version {version} of model" if version is not None else "any versions of model"
        raise ModelNotFoundError(f"Could not find {missing} {target.model}")
    versions = [status for status in state.versions if version in (None, status.version)]
    if version is not None and not versions:
        raise ModelNotFoundError(f"Could not find version {version} of model {target.model}")
    return orjson.dumps({"model_version_status": [_status(status) for status in versions]})


def format_metadata(model: ModelInfo) -> bytes:
    """Return the body that describes a version: its signatures, and nothing that a strict reader would stumble over."""
    signatures = {
        name: {
            "inputs": {key: _tensor(key, tensor.dtype, tensor.shape) for key, tensor in signature.inputs.items()},
            "outputs": {key: _tensor(key, tensor.dtype, tensor.shape) for key, tensor in signature.outputs.items()},
            "method_name": f"tensorflow/serving/{signature.method}",
        }
        for name, signature in model.signatures.items()
    }
    return orjson.dumps(
        {
            "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
    )


def _require_label(state: RunnerState, target: ModelSpec) -> None:
    if target.label is not None and (target.model != state.name or target.label not in state.labels):
        raise BadRequestError(f"Unrecognized servable version label: {target.label}")


def _status(version: VersionStatus) -> dict[str, Any]:
    return {
        "version": str(version.version),
        "state": _STATES[version.state],
        "status": {
            "error_code": version.error_code,
            "error_message": version.error_message,
        },
    }


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": name}
