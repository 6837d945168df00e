"""TensorFlow Serving's REST format, as far as it is about versions: texts and bodies, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from model_store.trust.manifest import InputContract, Signature, Tensor
from service.core.errors import BadRequestError, ModelNotFoundError, NotReadyError, ServiceError
from service.core.serving_state import ModelInfo, ModelSpec, RunnerState, VersionState, VersionStatus
from service.protocols.tfserving.models import format_metadata, format_status, parse_target, require_model

STRINGS = Tensor(dtype="DT_STRING", shape=(-1,))
SCORES = Tensor(dtype="DT_FLOAT", shape=(-1, 2))
SIGNATURES = {
    "serving_default": Signature(inputs={"image_bytes": STRINGS}, outputs={"scores": SCORES}),
    "classify_images": Signature(
        inputs={"inputs": STRINGS},
        outputs={"classes": Tensor(dtype="DT_STRING", shape=(-1, 2)), "scores": SCORES},
        method="classify",
    ),
}


def served(version: int, *labels: str) -> ModelInfo:
    return ModelInfo(
        name="cats",
        version=version,
        digest=f"sha256:{version:064}",
        labels=labels,
        variant="openvino/fp32",
        input=InputContract(height=4, width=4),
        classes=("cat", "dog"),
        signatures=SIGNATURES,
    )


def status(version: int, state: VersionState, code: str = "OK", message: str = "") -> VersionStatus:
    return VersionStatus(version=version, digest="", state=state, error_code=code, error_message=message)


@pytest.fixture
def state() -> RunnerState:
    """Versions 1 and 3 answer; 4 failed; `next` leads to it."""
    return RunnerState(
        name="cats",
        process="p",
        waiting_for=None,
        default=1,
        labels={"stable": 1, "canary": 3, "next": 4},
        versions=(
            status(4, VersionState.FAILED, "DATA_LOSS", "bytes differ"),
            status(3, VersionState.AVAILABLE),
            status(1, VersionState.AVAILABLE),
        ),
        served=(served(1, "stable"), served(3, "canary")),
    )


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (ModelSpec("cats"), 1),
        (ModelSpec("cats", version=3), 3),
        (ModelSpec("cats", label="stable"), 1),
        (ModelSpec("cats", label="canary"), 3),
    ],
)
def test_the_version_that_is_asked_for(state: RunnerState, spec: ModelSpec, version: int) -> None:
    assert require_model(state, spec).version == version


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (ModelSpec("dogs"), ModelNotFoundError, "Servable not found for request: Latest(dogs)"),
        (ModelSpec("dogs", version=1), ModelNotFoundError, "Servable not found for request: Specific(dogs, 1)"),
        (ModelSpec("dogs", label="stable"), BadRequestError, "Unrecognized servable version label: stable"),
        (ModelSpec("cats", version=7), ModelNotFoundError, "Servable not found for request: Specific(cats, 7)"),
        (ModelSpec("cats", version=4), ModelNotFoundError, "Servable not found for request: Specific(cats, 4)"),
        (ModelSpec("cats", label="nope"), BadRequestError, "Unrecognized servable version label: nope"),
        (ModelSpec("cats", label="next"), ModelNotFoundError, "Servable not found for request: Specific(cats, 4)"),
    ],
)
def test_what_does_not_answer(state: RunnerState, spec: ModelSpec, error: type[ServiceError], text: str) -> None:
    with pytest.raises(error) as refused:
        require_model(state, spec)
    assert str(refused.value) == text


@pytest.mark.parametrize("spec", [ModelSpec("cats"), ModelSpec("cats", version=1), ModelSpec("cats", label="stable")])
def test_before_anything_answers(spec: ModelSpec) -> None:
    starting = RunnerState(
        name="cats", process="p", waiting_for="pulling", default=None, labels={}, versions=(), served=()
    )
    with pytest.raises(NotReadyError, match="no model is available yet: pulling"):
        require_model(starting, spec)


def test_version_numbers() -> None:
    assert parse_target("cats", "0012") == ModelSpec("cats", 12)
    assert parse_target("cats", str(2**63 - 1)) == ModelSpec("cats", 2**63 - 1)
    assert parse_target("cats", label="stable") == ModelSpec("cats", None, "stable")
    for digits in (str(2**63), "9" * 5000):
        with pytest.raises(BadRequestError) as refused:
            parse_target("cats", digits)
        assert str(refused.value) == f"Failed to convert version: {digits} to numeric."


def test_status_by_model_version_and_label(state: RunnerState) -> None:
    failed = {
        "version": "4",
        "state": "END",
        "status": {"error_code": "DATA_LOSS", "error_message": "bytes differ"},
    }
    third = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    first = {**third, "version": "1"}
    for spec, expected in [
        (ModelSpec("cats"), [failed, third, first]),
        (ModelSpec("cats", version=3), [third]),
        (ModelSpec("cats", version=4), [failed]),
        (ModelSpec("cats", label="stable"), [first]),
        (ModelSpec("cats", label="next"), [failed]),
    ]:
        assert json.loads(format_status(state, spec)) == {"model_version_status": expected}


def test_every_state_is_one_of_theirs(state: RunnerState) -> None:
    named = {}
    for known in VersionState:
        alone = state.model_copy(update={"versions": (status(1, known),)})
        named[known.value] = json.loads(format_status(alone, ModelSpec("cats")))["model_version_status"][0]["state"]
    assert named == {
        "pulling": "START",
        "loading": "LOADING",
        "warming": "LOADING",
        "checking": "LOADING",
        "available": "AVAILABLE",
        "draining": "UNLOADING",
        "unloaded": "END",
        "failed": "END",
    }


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (ModelSpec("dogs"), ModelNotFoundError, "Could not find any versions of model dogs"),
        (ModelSpec("dogs", version=1), ModelNotFoundError, "Could not find version 1 of model dogs"),
        (ModelSpec("cats", version=7), ModelNotFoundError, "Could not find version 7 of model cats"),
        (ModelSpec("cats", label="nope"), BadRequestError, "Unrecognized servable version label: nope"),
        (ModelSpec("dogs", label="stable"), BadRequestError, "Unrecognized servable version label: stable"),
    ],
)
def test_status_of_what_is_not_there(state: RunnerState, spec: ModelSpec, error: type[ServiceError], text: str) -> None:
    with pytest.raises(error) as refused:
        format_status(state, spec)
    assert str(refused.value) == text


def test_metadata_is_what_a_strict_reader_takes() -> None:
    document: dict[str, Any] = json.loads(format_metadata(served(3)))
    assert list(document) == ["model_spec", "metadata"]
    assert document["model_spec"] == {"name": "cats", "signature_name": "", "version": "3"}
    assert list(document["metadata"]) == ["signature_def"]
    assert list(document["metadata"]["signature_def"]) == ["signature_def"]
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"] == {
        "inputs": {
            "image_bytes": {
                "dtype": "DT_STRING",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "image_bytes",
            }
        },
        "outputs": {
            "scores": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {
                    "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
                    "unknown_rank": False,
                },
                "name": "scores",
            }
        },
        "method_name": "tensorflow/serving/predict",
    }
    assert signatures["classify_images"]["method_name"] == "tensorflow/serving/classify"
    for name, signature in signatures.items():
        parsed = json_format.ParseDict(signature, SignatureDef())  # Raises on a field that it does not know.
        assert set(parsed.inputs) == set(SIGNATURES[name].inputs)
        assert set(parsed.outputs) == set(SIGNATURES[name].outputs)
