"""TensorFlow Serving's classify and regress, as far as they are pure: examples to images, scores to pairs."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Literal

import numpy as np
import pytest

from model_store.trust.manifest import Signature
from service.core.errors import BadRequestError
from service.protocols.tfserving.body import parse_body
from service.protocols.tfserving.classify import Examples, format_classify, parse_examples, require_signature

PREDICT = Signature(inputs={}, outputs={})
CLASSIFY = Signature(inputs={}, outputs={}, method="classify")
REGRESS = Signature(inputs={}, outputs={}, method="regress")

A, B = b"image one", b"image two"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


def parse(document: Any) -> Examples:
    return parse_examples(parse_body(json.dumps(document).encode()), max_images=4)


def refusal(document: Any) -> str:
    with pytest.raises(BadRequestError) as refused:
        parse(document)
    return str(refused.value)


def test_a_request_as_in_the_documentation() -> None:
    document = {
        "signature_name": "classify_images",
        "examples": [
            {"image_bytes": {"b64": "aW1hZ2UgYnl0ZXM="}, "caption": "seaside"},
            {"image_bytes": {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw=="}, "caption": "mountains"},
        ],
    }
    assert parse(document) == Examples(
        [b"image bytes", b"awesome image bytes"], ["examples[0].image_bytes", "examples[1].image_bytes"]
    )


def test_features_are_values_or_lists_of_them() -> None:
    features = {
        "words": ["a", "b", b64(B)],
        "whole": [1, -2, True, 2**63 - 1],
        "decimal": [1.5, -0.25, 1e38],
        "one": 1,
        "nothing": [],
    }
    assert parse({"examples": [{"image_bytes": [b64(A)], **features}]}).inputs == [A]


def test_the_context_holds_where_an_example_does_not_say_otherwise() -> None:
    document = {"context": {"image_bytes": b64(A), "lens": 35}, "examples": [{}, {"image_bytes": b64(B)}, {"x": 1}]}
    assert parse(document) == Examples(
        [A, B, A], ["context.image_bytes", "examples[1].image_bytes", "context.image_bytes"]
    )


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            {"instances": 1},
            'JSON Value: {\n    "instances": 1\n} When method is classify, '
            "key 'examples' is expected and was not found",
        ),
        ({"examples": 1}, "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        (
            {"signature_name": [], "examples": [{}]},
            'JSON Value: {\n    "signature_name": [],\n    "examples": [\n        {}\n    ]\n} not formatted '
            "correctly. 'signature_name' key must be a string value.",
        ),
    ],
)
def test_fixed_texts_word_for_word(document: Any, text: str) -> None:
    assert refusal(document) == text


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ([], "Example must be JSON object but got JSON Array (examples[1])"),
        (None, "Example must be JSON object but got JSON Null (examples[1])"),
        ({"x": None}, "Feature: x has element with unexpected JSON type: Null (examples[1].x)"),
        ({"x": {"b64": 1}}, "Feature: x has element with unexpected JSON type: Object (examples[1].x)"),
        ({"x": [[1]]}, "Feature: x has element with unexpected JSON type: Array (examples[1].x)"),
        ({"x": ["a", 1]}, "Unexpected element type in feature: x expecting type: bytes (examples[1].x)"),
        ({"x": [1, 1.5]}, "Unexpected element type in feature: x expecting type: int64 (examples[1].x)"),
        ({"x": [1.5, True]}, "Unexpected element type in feature: x expecting type: float (examples[1].x)"),
        ({"x": 2**63}, "Feature: x has uint64 element. Only int64 is supported. (examples[1].x)"),
        ({"x": [1, -2, 2**63]}, "Feature: x has uint64 element. Only int64 is supported. (examples[1].x)"),
        ({"x": [0.5, -1e39]}, "Cannot convert JSON value: -1e+39 to float without loss of precision. (examples[1].x)"),
        ({"x": [b64(A), "a", 1]}, "Unexpected element type in feature: x expecting type: bytes (examples[1].x)"),
        ({f"x{i}": 1 for i in range(1001)}, "examples[1]: has 1001 features; the limit is 1000"),
        ({"x": 1e39}, "Cannot convert JSON value: 1e+39 to float without loss of precision. (examples[1].x)"),
        (
            {},
            "Name: <unknown>, Feature: image_bytes (data type: string) is required but could not be found. "
            "(examples[1])",
        ),
        (
            {"image_bytes": []},
            "Name: <unknown>, Feature: image_bytes (data type: string) is required but could not be found. "
            "(examples[1])",
        ),
        (
            {"image_bytes": 1},
            "Name: <unknown>, Key: image_bytes, Index: 1.  Data types don't match. Data type: int64 but expected "
            "type: string (examples[1].image_bytes: must be an image as {'b64': '…'})",
        ),
        (
            {"image_bytes": [b64(A), b64(B)]},
            "Name: <unknown>, Key: image_bytes, Index: 1.  Can't parse serialized Example. "
            "(examples[1].image_bytes: has 2 values; one image is taken)",
        ),
        ({"image_bytes": {"b64": "*"}}, "Unable to base64 decode (examples[1].image_bytes: is not base64)"),
        (
            {"image_bytes": "text"},
            "examples[1].image_bytes: must be an image as {'b64': '…'}, not a plain string",
        ),
    ],
)
def test_fixed_texts_with_the_field_behind(example: Any, text: str) -> None:
    assert refusal({"examples": [{"image_bytes": b64(A)}, example]}) == text


def test_the_context_is_checked_as_well() -> None:
    assert refusal({"context": 1}) == "Example must be JSON object but got JSON Number (context)"
    assert refusal({"context": {"image_bytes": {"b64": "*"}}, "examples": [{}]}) == (
        "Unable to base64 decode (context.image_bytes: is not base64)"
    )


def test_more_examples_than_may_be() -> None:
    assert refusal({"examples": [{"image_bytes": b64(A)}] * 5}) == "examples: has 5 images; the limit is 4"


def check(signatures: dict[str, Signature], method: Literal["classify", "regress"], name: str | None = None) -> None:
    require_signature({} if name is None else {"signature_name": name}, signatures, method)


def test_the_signature_that_is_asked() -> None:
    both = {"serving_default": PREDICT, "classify_images": CLASSIFY}
    check(both, "classify", "classify_images")
    check(both, "classify")  # The only one; TensorFlow Serving would insist on its name.
    check(both, "classify", "")
    check({"serving_default": REGRESS, "other": REGRESS}, "regress")


WAS_PREDICT = "tensorflow/serving/classify. Was: tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("signatures", "method", "name", "text"),
    [
        (
            {"serving_default": PREDICT},
            "classify",
            None,
            f"Expected classification signature method_name to be {WAS_PREDICT}",
        ),
        (
            {"serving_default": PREDICT, "a": CLASSIFY, "b": CLASSIFY},
            "classify",
            None,
            f"Expected classification signature method_name to be {WAS_PREDICT}",
        ),
        (
            {"serving_default": PREDICT, "a": CLASSIFY},
            "classify",
            "serving_default",
            f"Expected classification signature method_name to be {WAS_PREDICT}",
        ),
        ({"serving_default": PREDICT}, "classify", "x", "No signature was found with the name: x"),
        (
            {"serving_default": PREDICT, "a": CLASSIFY},
            "regress",
            None,
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict",
        ),
        (
            {"a": CLASSIFY},
            "regress",
            "a",
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/classify",
        ),
        ({"a": CLASSIFY}, "regress", None, "No signature was found with the name: serving_default"),
    ],
)
def test_signatures_of_another_method(
    signatures: dict[str, Signature], method: Literal["classify", "regress"], name: str | None, text: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        check(signatures, method, name)
    assert str(refused.value) == text


def test_all_classes_in_the_order_of_the_model() -> None:
    scores = np.array([[0.2, 0.7, 0.1], [1, 0, 0]], np.float32)
    body = format_classify(scores, ("cat", "dog", "ä"))
    assert json.loads(body) == {
        "results": [[["cat", 0.2], ["dog", 0.7], ["ä", 0.1]], [["cat", 1.0], ["dog", 0.0], ["ä", 0.0]]]
    }
