"""The OpenAPI description of TensorFlow Serving's REST API."""

from __future__ import annotations

from typing import Any

from service.protocols.description import (
    EXAMPLE_BASE64,
    INFERENCE_ERRORS,
    LOOKUP_ERRORS,
    Describer,
    Description,
    json_content,
)
from service.protocols.tfserving.schema import (
    ClassifyExamples,
    ModelMetadata,
    ModelStatus,
    Outputs,
    PredictColumnar,
    Predictions,
    PredictRow,
    Results,
)

_B64 = {"b64": EXAMPLE_BASE64}


def describe(describer: Describer) -> Description:
    """Return the description: each method by model, by version and by label."""
    model = describer.model()
    version = describer.version({"type": "integer", "minimum": 0})
    paths: dict[str, Any] = {}
    for path, parameters, of, suffix in [
        ("/v1/models/{model}", [model], "", ""),
        ("/v1/models/{model}/versions/{version}", [model, version], ", by version", "Version"),
        ("/v1/models/{model}/labels/{label}", [model, describer.label()], ", by label", "Label"),
    ]:
        paths |= _methods(describer, path, parameters, of, suffix)
    return Description(
        "TensorFlow Serving",
        "The REST API of TensorFlow Serving.",
        paths,
        requests=[PredictRow, PredictColumnar, ClassifyExamples],
        responses=[Predictions, Outputs, Results, ModelStatus, ModelMetadata],
    )


def _methods(describer: Describer, path: str, parameters: list[dict[str, Any]], of: str, suffix: str) -> dict[str, Any]:
    with_headers = [*parameters, *describer.request_headers()]
    predict = describer.operation(
        f"tfservingPredict{suffix}",
        f"Scores of images{of}",
        json_content(Predictions, Outputs),
        *INFERENCE_ERRORS,
        parameters=with_headers,
        body=json_content(
            PredictRow, PredictColumnar, row={"instances": [_B64]}, columnar={"inputs": {"image_bytes": [_B64]}}
        ),
    )
    classify = describer.operation(
        f"tfservingClassify{suffix}",
        f"Scores of images with the names of the classes{of}",
        json_content(Results),
        *INFERENCE_ERRORS,
        parameters=with_headers,
        body=json_content(ClassifyExamples, examples={"examples": [{"image_bytes": _B64}]}),
    )
    regress = describer.operation(
        f"tfservingRegress{suffix}",
        f"Regression{of}; not supported by the model, always 400",
        None,
        *INFERENCE_ERRORS,
        parameters=with_headers,
        body=json_content(ClassifyExamples),
    )
    status = describer.operation(
        f"tfservingStatus{suffix}",
        f"State{of or ' of all versions'}",
        json_content(ModelStatus),
        *LOOKUP_ERRORS,
        parameters=parameters,
    )
    metadata = describer.operation(
        f"tfservingMetadata{suffix}",
        f"Signatures{of}",
        json_content(ModelMetadata),
        *LOOKUP_ERRORS,
        parameters=parameters,
    )
    return {
        f"{path}:predict": {"post": predict},
        f"{path}:classify": {"post": classify},
        f"{path}:regress": {"post": regress},
        path: {"get": status},
        f"{path}/metadata": {"get": metadata},
    }
