"""The version that serves a request, by number, by label, and by default."""

from __future__ import annotations

import pytest

from model_store.trust.manifest import InputContract
from service.core.errors import ModelNotFoundError, NotReadyError
from service.core.serving_state import ModelInfo, ModelSpec, RunnerState


def info(version: int) -> ModelInfo:
    return ModelInfo(
        name="cats",
        version=version,
        digest="sha256:0",
        labels=(),
        variant="openvino/fp32",
        input=InputContract(height=8, width=8),
        classes=("cat",),
        signatures={},
    )


STARTING = RunnerState(
    name="cats", process="p", waiting_for="version 1 is loading", default=None, labels={}, versions=(), served=()
)

STATE = STARTING.model_copy(
    update={"waiting_for": None, "default": 1, "labels": {"canary": 2, "old": 9}, "served": (info(1), info(2))}
)


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (ModelSpec("cats"), 1),
        (ModelSpec("cats", version=2), 2),
        (ModelSpec("cats", label="canary"), 2),
        (ModelSpec("cats", version=3), None),
        (ModelSpec("cats", label="beta"), None),
        (ModelSpec("cats", label="old"), None),  # Its version is not loaded yet.
        (ModelSpec("dogs"), None),
    ],
)
def test_a_version_is_found_by_number_by_label_and_by_default(spec: ModelSpec, version: int | None) -> None:
    found = STATE.find(spec)
    assert (found.version if found else None) == version
    if found:
        assert STATE.require(spec, "missing") is found
    else:
        with pytest.raises(ModelNotFoundError, match="missing"):
            STATE.require(spec, "missing")


def test_before_a_version_is_available_the_error_says_why() -> None:
    for require in (lambda: STARTING.require(ModelSpec("cats"), "missing"), STARTING.require_ready):
        with pytest.raises(NotReadyError, match="no model is available yet: version 1 is loading"):
            require()
    with pytest.raises(ModelNotFoundError, match="missing"):
        STARTING.require(ModelSpec("dogs"), "missing")
