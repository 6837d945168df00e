"""TensorFlow Serving's REST format, as far as it is pure: requests to images, scores to bodies."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from service.errors import BadRequestError
from service.tfserving import PredictRequest, format_predict, parse_predict

A, B = b"image one", b"image two"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


def parse(document: Any) -> PredictRequest:
    return parse_predict(json.dumps(document).encode(), max_instances=4)


@pytest.mark.parametrize(
    ("document", "columnar"),
    [
        ({"instances": [b64(A), b64(B)]}, False),
        ({"instances": [{"image_bytes": b64(A)}, {"image_bytes": b64(B)}]}, False),
        ({"inputs": [b64(A), b64(B)]}, True),
        ({"inputs": {"image_bytes": [b64(A), b64(B)]}}, True),
        ({"signature_name": "serving_default", "instances": [b64(A), b64(B)]}, False),
    ],
)
def test_row_and_columnar_named_and_bare(document: Any, columnar: bool) -> None:
    assert parse(document) == PredictRequest([A, B], columnar)


def test_the_request_of_the_documentation() -> None:
    """TensorFlow Serving's page on its RESTful API shows this one for binary values."""
    body = b'{ "instances": [ { "b64": "aW1hZ2UgYnl0ZXM=" }, { "b64": "YXdlc29tZSBpbWFnZSBieXRlcw==" } ] }'
    assert parse_predict(body, 4).images == [b"image bytes", b"awesome image bytes"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([1], "must be a JSON object"),
        ({}, "neither 'instances' nor 'inputs'"),
        ({"instances": [b64(A)], "inputs": [b64(A)]}, "both 'instances' and 'inputs'"),
        ({"instances": []}, "instances: must not be an empty list"),
        ({"inputs": []}, "inputs: must not be an empty list"),
        ({"instances": b64(A)}, "instances: must be a list"),
        ({"inputs": b64(A)}, "inputs: must be a list"),
        ({"inputs": {"other": [b64(A)]}}, "inputs: has the inputs other; the signature takes 'image_bytes' only"),
        ({"instances": [b64(A)] * 5}, "instances: has 5 images; the limit is 4"),
        ({"instances": [b64(A), 1]}, r"instances\[1\]: must be an image"),
        ({"instances": [b64(A), {"other": 1}]}, r"instances\[1\]: has the inputs other"),
        ({"instances": [{"b64": 1}]}, r"instances\[0\].b64: must be a string"),
        ({"instances": [{"b64": "a*b"}]}, r"instances\[0\].b64: is not base64"),
        ({"instances": [{"b64": "abc"}]}, r"instances\[0\].b64: is not base64"),
        ({"instances": [{"b64": "ä"}]}, r"instances\[0\].b64: is not base64"),
        ({"instances": [b64(A)], "signature_name": "x"}, "signature_name: 'x' is not served"),
    ],
)
def test_refused_with_the_field(document: Any, reason: str) -> None:
    with pytest.raises(BadRequestError, match=reason):
        parse(document)


def test_not_json() -> None:
    with pytest.raises(BadRequestError, match="JSON Parse error"):
        parse_predict(b"{", 4)


def test_answers_mirror_the_format() -> None:
    scores = np.array([[0.25, 0.75], [1, 0]], np.float32)
    rows = [[0.25, 0.75], [1.0, 0.0]]
    assert json.loads(format_predict(PredictRequest([A, B], columnar=False), scores)) == {"predictions": rows}
    assert json.loads(format_predict(PredictRequest([A, B], columnar=True), scores)) == {"outputs": rows}
