"""Resolve versions, and format their status and metadata, as TensorFlow Serving's REST API does.

No HTTP here. `predict.py` and `classify.py` have the requests and responses of inference. Error messages are TensorFlow
Serving's, word for word.
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
    """Return the model and version of a path.

    Args:
        model: Name of the model.
        version: Decimal digits.
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
    """Return the version for a request.

    Raises:
        NotReadyError: No version of this model is available yet.
        ModelNotFoundError: There is no such model or version, or the version of the label is not available.
        BadRequestError: There is no such label, as in TensorFlow Serving.
    """
    version = target.version if target.label is None else state.labels.get(target.label)
    requested = f"Latest({target.model})" if version is None else f"Specific({target.model}, {version})"
    try:
        return state.require(target, f"Servable not found for request: {requested}")
    except ModelNotFoundError:
        _require_label(state, target)
        raise


def format_status(state: RunnerState, target: ModelSpec) -> bytes:
    """Return the body with the states of a model's versions, or of the requested one.

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
    """Return the body with the signatures of a version, which strict clients of TensorFlow Serving parse."""
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
