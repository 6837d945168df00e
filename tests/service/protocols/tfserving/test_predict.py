"""TensorFlow Serving's predict, as far as it is pure: requests to images and pixels, scores to bodies."""

from __future__ import annotations

import json
import time
import tracemalloc
from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from model_store.trust.manifest import Signature, Tensor
from service.core.errors import BadRequestError
from service.protocols.tfserving.body import parse_body
from service.protocols.tfserving.predict import PredictRequest, format_predict, parse_predict

A, B = b"image one", b"image two"
STRINGS = Tensor(dtype="DT_STRING", shape=(-1,))
SCORES = Tensor(dtype="DT_FLOAT", shape=(-1, 2))
SIGNATURES = {
    "serving_default": Signature(inputs={"image_bytes": STRINGS}, outputs={"scores": SCORES}),
    "pixels": Signature(inputs={"pixels": Tensor(dtype="DT_UINT8", shape=(-1, 2, 3, 3))}, outputs={"scores": SCORES}),
    "classify_images": Signature(inputs={"inputs": STRINGS}, outputs={"scores": SCORES}, method="classify"),
    "two": Signature(inputs={"a": STRINGS, "b": STRINGS}, outputs={"scores": SCORES}),
}
IMAGE = [[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[9, 10, 11], [12, 13, 14], [15, 254, 255]]]


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


def parse_bytes(body: bytes) -> PredictRequest:
    return parse_predict(parse_body(body), SIGNATURES, max_images=4)


def parse(document: Any) -> PredictRequest:
    return parse_bytes(json.dumps(document).encode())


def refusal(document: Any) -> str:
    with pytest.raises(BadRequestError) as refused:
        parse(document)
    return str(refused.value)


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"instances": [b64(A), b64(B)]}, ["instances[0]", "instances[1]"]),
        (
            {"instances": [{"image_bytes": b64(A)}, {"image_bytes": b64(B)}]},
            ["instances[0].image_bytes", "instances[1].image_bytes"],
        ),
        ({"inputs": [b64(A), b64(B)]}, ["inputs[0]", "inputs[1]"]),
        ({"inputs": {"image_bytes": [b64(A), b64(B)]}}, ["inputs.image_bytes[0]", "inputs.image_bytes[1]"]),
        (
            {"inputs": {"image_bytes": [b64(A), b64(B)], "unknown": 1}},
            ["inputs.image_bytes[0]", "inputs.image_bytes[1]"],
        ),
        ({"signature_name": "serving_default", "instances": [b64(A), b64(B)]}, ["instances[0]", "instances[1]"]),
        ({"signature_name": "", "instances": [b64(A), b64(B)]}, ["instances[0]", "instances[1]"]),
    ],
)
def test_row_and_columnar_named_and_bare(document: Any, fields: list[str]) -> None:
    assert parse(document) == PredictRequest([A, B], fields, columnar="inputs" in document)


@pytest.mark.parametrize(("inputs", "field"), [(b64(A), "inputs"), ({"image_bytes": b64(A)}, "inputs.image_bytes")])
def test_one_columnar_image_without_a_list_is_a_batch_of_one(inputs: Any, field: str) -> None:
    assert parse({"inputs": inputs}) == PredictRequest([A], [field], columnar=True)


def test_the_values_of_the_documentation() -> None:
    """TensorFlow Serving's page on its RESTful API shows these for binary values."""
    body = b'{ "instances": [ { "b64": "aW1hZ2UgYnl0ZXM=" }, { "b64": "YXdlc29tZSBpbWFnZSBieXRlcw==" } ] }'
    assert parse_bytes(body).inputs == [b"image bytes", b"awesome image bytes"]


@pytest.mark.parametrize(
    "text", ["aW1h\nZ2Ug\r\nYnl0ZXM=", "aW1hZ2UgYnl0ZXM", " aW1hZ2UgYnl0ZXM =", "aW1hZ2UgYnl0ZXM="]
)
def test_base64_may_be_wrapped_and_unpadded(text: str) -> None:
    assert parse({"instances": [{"b64": text}]}).inputs == [b"image bytes"]


@pytest.mark.parametrize(
    "text", ["a*b", "a", "ä", "abc==", "=abc", "ab=c", "aW1hZ2UgYnl0ZXM==", "aW_h", "\ud83d\ude00"]
)
def test_what_is_not_base64(text: str) -> None:
    began = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode"
    assert refusal({"instances": [b64(A), {"b64": text}]}) == f"{began} (instances[1]: is not base64)"
    assert refusal({"inputs": [{"b64": text}]}) == "Unable to base64 decode (inputs[0]: is not base64)"


MUST_BE = "must be an image as {'b64': '…'}"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([1], "JSON Value: [\n    1\n] Is not object"),
        ("x", 'JSON Value: "x" Is not object'),
        ({}, "Missing 'inputs' or 'instances' key"),
        (
            {"instances": [1], "inputs": []},
            'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": []\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        ({"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        ({"instances": 1}, "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an list/array"),
        (
            {"signature_name": 100},
            'JSON Value: {\n    "signature_name": 100\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        ({"signature_name": "x"}, 'Serving signature name: "x" not found in signature def'),
        ({"inputs": {"other": [b64(A)]}}, "Missing named input: image_bytes in 'inputs' object."),
        (
            {"instances": [b64(A), {"image_bytes": b64(A)}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        ({"instances": [{"image_bytes": b64(A)}, b64(A)]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [{"other": 1}]},
            "Failed to process element: 0 key: other of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: other",
        ),
        (
            {"instances": [{}]},
            "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: image_bytes",
        ),
    ],
)
def test_fixed_texts_word_for_word(document: Any, text: str) -> None:
    assert refusal(document) == text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            {"instances": [b64(A), 1]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            f"JSON Value: 1 Type: Number is not of expected type: string (instances[1]: {MUST_BE})",
        ),
        (
            {"instances": [{"image_bytes": None}]},
            "Failed to process element: 0 key: image_bytes of 'instances' list. Error: INVALID_ARGUMENT: "
            f"JSON Value: null Type: Null is not of expected type: string (instances[0].image_bytes: {MUST_BE})",
        ),
        (
            {"inputs": {"image_bytes": [True]}},
            f"JSON Value: true Type: True is not of expected type: string (inputs.image_bytes[0]: {MUST_BE})",
        ),
        (
            {"inputs": [{"b64": 1}]},
            f'JSON Value: {{\n    "b64": 1\n}} not formatted correctly for base64 data (inputs[0]: {MUST_BE})',
        ),
    ],
)
def test_fixed_texts_with_the_field_behind(document: Any, text: str) -> None:
    assert refusal(document) == text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"instances": [[b64(A)]]}, f"instances[0]: {MUST_BE}, not a list"),
        ({"instances": [b64(A)["b64"]]}, f"instances[0]: {MUST_BE}, not a plain string"),
        ({"inputs": []}, "inputs: must not be an empty list"),
        ({"inputs": {"image_bytes": []}}, "inputs.image_bytes: must not be an empty list"),
        ({"instances": [b64(A)] * 5}, "instances: has 5 images; the limit is 4"),
        ({"inputs": [b64(A)] * 5}, "inputs: has 5 images; the limit is 4"),
        ({"inputs": {"image_bytes": [b64(A)] * 5}}, "inputs.image_bytes: has 5 images; the limit is 4"),
        (
            {"instances": [b64(A)], "signature_name": "classify_images"},
            "signature_name: 'classify_images' is for classify and takes serialized examples; "
            "ask it by ':classify', or take another one here",
        ),
        (
            {"instances": [b64(A)], "signature_name": "two"},
            "signature_name: 'two' takes neither images nor pixels; it is not run here",
        ),
    ],
)
def test_where_there_is_no_fixed_text(document: Any, text: str) -> None:
    assert refusal(document) == text


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"instances": [NaN]}', b"[" * 100_000, b'"\\ud800"'])
def test_not_json(body: bytes) -> None:
    with pytest.raises(BadRequestError, match=r"^JSON Parse error: "):
        parse_bytes(body)


def test_no_body() -> None:
    with pytest.raises(BadRequestError) as refused:
        parse_bytes(b"")
    assert str(refused.value) == "JSON Parse error: The document is empty"


def test_a_long_value_is_not_quoted_to_its_end() -> None:
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    for value in ("x" * 10**6, list(range(10**5)), deep):
        text = refusal({"instances": value, "inputs": 1})
        assert text.startswith('JSON Value: {\n    "instances": ')
        assert "… Not formatted correctly" in text
        assert len(text) < 700


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"instances": [IMAGE, IMAGE]}, ["instances[0]", "instances[1]"]),
        ({"instances": [{"pixels": IMAGE}, {"pixels": IMAGE}]}, ["instances[0].pixels", "instances[1].pixels"]),
        ({"inputs": [IMAGE, IMAGE]}, ["inputs[0]", "inputs[1]"]),
        ({"inputs": {"pixels": [IMAGE, IMAGE]}}, ["inputs.pixels[0]", "inputs.pixels[1]"]),
    ],
)
def test_pixels(document: Any, fields: list[str]) -> None:
    request = parse({"signature_name": "pixels", **document})
    assert isinstance(request.inputs, np.ndarray)
    assert request.inputs.dtype == np.uint8
    assert request.inputs.tolist() == [IMAGE, IMAGE]
    assert request.fields == fields


def changed(value: Any, *at: int) -> Any:
    """Return the image with `value` at a place in it."""
    image = json.loads(json.dumps(IMAGE))
    inner = image
    for index in at[:-1]:
        inner = inner[index]
    inner[at[-1]] = value
    return image


BLAME = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
LEVEL = "must be a whole number from 0 to 255"


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (changed(256, 0, 1, 2), f"instances[1][0][1][2]: is 256; {LEVEL}"),
        (changed(-1, 1, 2, 0), f"instances[1][1][2][0]: is -1; {LEVEL}"),
        (changed(10**18, 0, 0, 0), f"instances[1][0][0][0]: is {10**18}; {LEVEL}"),
        (
            changed(1.5, 0, 1, 2),
            f"{BLAME}JSON Value: 1.5 Type: Number is not of expected type: uint8 (instances[1][0][1][2]: {LEVEL})",
        ),
        (
            changed(1.0, 0, 0, 0),
            f"{BLAME}JSON Value: 1.0 Type: Number is not of expected type: uint8 (instances[1][0][0][0]: {LEVEL})",
        ),
        (
            changed(True, 0, 0, 0),
            f"{BLAME}JSON Value: true Type: True is not of expected type: uint8 (instances[1][0][0][0]: {LEVEL})",
        ),
        (
            changed("7", 0, 0, 0),
            f'{BLAME}JSON Value: "7" Type: String is not of expected type: uint8 (instances[1][0][0][0]: {LEVEL})',
        ),
        (changed([7], 0, 0, 0), f"instances[1][0][0][0]: {LEVEL}"),
        (changed([0, 0], 1, 2), "instances[1][1][2]: has 2 entries; the signature takes 3"),
        (changed([0, 0, 0, 0], 1, 2), "instances[1][1][2]: has 4 entries; the signature takes 3"),
        (changed(0, 1, 2), "instances[1][1][2]: must be 3 numbers in nested lists"),
        (changed(IMAGE[0][:2], 1), "instances[1][1]: has 2 entries; the signature takes 3"),
        (IMAGE[:1], "instances[1]: has 1 entries; the signature takes 2"),
        ([], "instances[1]: has 0 entries; the signature takes 2"),
        (0, "instances[1]: must be 2 × 3 × 3 numbers in nested lists"),
        (b64(A), "instances[1]: must be 2 × 3 × 3 numbers in nested lists"),
    ],
)
def test_pixels_are_checked_to_the_last_number(image: Any, text: str) -> None:
    assert refusal({"signature_name": "pixels", "instances": [IMAGE, image]}) == text


def test_pixels_take_little_time_and_memory() -> None:
    """Nothing that grows faster than the request: about 40 ms and 25 MB an image of 299 × 299, on two quiet cores."""
    size = (299, 299, 3)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size))
    body = json.dumps({"signature_name": "pixels", "instances": pixels.tolist()}, separators=(",", ":")).encode()
    signature = Signature(inputs={"pixels": Tensor(dtype="DT_UINT8", shape=(-1, *size))}, outputs={"scores": SCORES})

    def read() -> PredictRequest:
        return parse_predict(parse_body(body), {"pixels": signature}, max_images=3)

    before = time.process_time()
    request = read()
    assert time.process_time() - before < 1
    assert np.array_equal(request.inputs, pixels)
    tracemalloc.start()
    read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * len(body)


def test_answers_mirror_the_format() -> None:
    scores = np.array([[0.25, 0.75], [1, 0]], np.float32)
    rows = [[0.25, 0.75], [1.0, 0.0]]
    fields = ["", ""]
    assert json.loads(format_predict(PredictRequest([A, B], fields, columnar=False), scores)) == {"predictions": rows}
    assert json.loads(format_predict(PredictRequest([A, B], fields, columnar=True), scores)) == {"outputs": rows}
