"""The tensors of the Open Inference Protocol: images and pixels, in JSON and in binary."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from model_store.trust.manifest import Signature, Tensor
from service.core.errors import BadRequestError
from service.protocols.open_inference.request import InferRequest, RequestedOutput, parse_infer
from tests.service.protocols.open_inference.samples import (
    MODEL,
    PIXELS,
    SCORES,
    A,
    B,
    binary,
    images,
    packed,
    parse,
    pixels,
    refusal,
    text,
)


class TestImages:
    @pytest.mark.parametrize("shape", [[2], [2, 1]])
    def test_json(self, shape: list[int]) -> None:
        request = parse(images(text(A), text(B), shape=shape))
        assert request == InferRequest([A, B], ["inputs[0].data[0]", "inputs[0].data[1]"], RequestedOutput("scores"))

    def test_nested_json(self) -> None:
        request = parse(images([text(A)], [text(B)], shape=[2, 1], parameters={"content_type": "base64"}))
        assert request.inputs == [A, B]
        assert request.fields == ["inputs[0].data[0][0]", "inputs[0].data[1][0]"]

    @pytest.mark.parametrize("shape", [[2], [2, 1]])
    def test_binary(self, shape: list[int]) -> None:
        behind = packed(A, B)
        request = parse(binary(images(0, 0, shape=shape), len(behind)), behind)
        assert request.inputs == [A, B]
        assert request.fields == ["inputs[0], element 0", "inputs[0], element 1"]

    def test_binary_that_is_base64(self) -> None:
        behind = packed(text(A).encode())
        assert parse(binary(images(0), len(behind), content_type="base64"), behind).inputs == [A]
        assert (
            refusal(binary(images(0), 4 + len(A), content_type="base64"), packed(A))
            == "inputs[0], element 0: is not base64 (send raw bytes as binary data)"
        )

    @pytest.mark.parametrize("length", [None, 0])
    def test_no_json_at_all(self, length: int | None) -> None:
        if length == 0:
            assert parse_infer(A, 0, MODEL, 4) == InferRequest([A], ["the body"], RequestedOutput("scores"))
        else:
            with pytest.raises(BadRequestError, match="the request is not JSON"):
                parse_infer(A, None, MODEL, 4)

    @pytest.mark.parametrize(
        ("tensor", "message"),
        [
            (images("a*b"), "inputs[0].data[0]: is not base64 (send raw bytes as binary data)"),
            (images(text(A), 7), "inputs[0].data[1]: must be a string, an image in base64"),
            (images(text(A), {"b64": text(B)}), "inputs[0].data[1]: must be a string, an image in base64"),
            (images(text(A), "ä"), "inputs[0].data[1]: is not base64 (send raw bytes as binary data)"),
            (images(text(A), shape=[2]), "inputs[0].data: has 1 entries; must be a list of 2"),
            (images([text(A)], text(B), shape=[2, 1]), "inputs[0].data[1]: must be a list of 1"),
            (images(text(A), data=text(A)), "inputs[0].data: must be a list of 1"),
            (images(text(A), data=None), "inputs[0].data: must be a list of 1"),
            ({"name": "image_bytes", "datatype": "BYTES", "shape": [1]}, "inputs[0].data: must be a list of 1"),
            (images(shape=[0]), "inputs[0].shape: must be a list of whole numbers from 1"),
            (images(text(A), shape=[-1]), "inputs[0].shape: must be a list of whole numbers from 1"),
            (images(text(A), shape=[1.0]), "inputs[0].shape: must be a list of whole numbers from 1"),
            (images(text(A), shape=[True]), "inputs[0].shape: must be a list of whole numbers from 1"),
            (images(text(A), shape=[2**70]), "inputs[0].shape: must be a list of whole numbers from 1"),
            (images(text(A), shape="1"), "inputs[0].shape: must be a list of whole numbers from 1"),
            (images(text(A), shape=[]), "inputs[0].shape: is []; image_bytes takes [n]"),
            (images(text(A), shape=[1, 2]), "inputs[0].shape: is [1, 2]; image_bytes takes [n]"),
            (images(text(A), shape=[1, 1, 1]), "inputs[0].shape: is [1, 1, 1]; image_bytes takes [n]"),
            (images(text(A), shape=[1] * 17), "inputs[0].shape: has 17 sizes; the limit is 16"),
            (images(text(A), shape=[5]), "inputs[0].shape: has 5 images; the limit is 4"),
            (images(text(A), shape=[2**63]), f"inputs[0].shape: has {2**63} images; the limit is 4"),
        ],
    )
    def test_what_is_refused(self, tensor: Any, message: str) -> None:
        assert refusal(tensor) == message

    def test_broken_binary_data(self) -> None:
        for behind, count, message in [
            (packed(A)[:3], 1, "the binary data ends before element 0 of 1"),
            (packed(A), 2, "the binary data ends before element 1 of 2"),
            (packed(A)[:-1], 1, "element 0 of the binary data says it has 11 bytes; 10 are left"),
            (b"\xff\xff\xff\xff" + A, 1, f"element 0 of the binary data says it has {2**32 - 1} bytes; 11 are left"),
            (packed(A, B), 1, "18 bytes of the binary data are left over behind 1 elements"),
        ]:
            assert refusal(binary(images(0, shape=[count]), len(behind)), behind) == f"inputs[0]: {message}"
        assert parse(binary(images(0), 4), packed(b"")).inputs == [b""]  # Decoding says that it is empty.


class TestPixels:
    @pytest.mark.parametrize("data", [PIXELS.tolist(), PIXELS.ravel().tolist()])
    def test_json_nested_or_flat(self, data: Any) -> None:
        request = parse(pixels(data))
        assert isinstance(request.inputs, np.ndarray)
        assert request.inputs.dtype == np.uint8
        assert np.array_equal(request.inputs, PIXELS)

    def test_binary(self) -> None:
        assert np.array_equal(parse(binary(pixels(None), 12), PIXELS.tobytes()).inputs, PIXELS)
        message = "inputs[0]: has 11 bytes of binary data; the shape says 12"
        assert refusal(binary(pixels(None), 11), PIXELS.tobytes()[:11]) == message

    @pytest.mark.parametrize(
        ("value", "found"), [(256, "is 256; "), (-1, "is -1; "), (1.0, "is 1.0; "), (True, ""), (None, ""), ("7", "")]
    )
    def test_levels_are_whole_numbers(self, value: Any, found: str) -> None:
        flat, nested = PIXELS.ravel().tolist(), PIXELS.tolist()
        flat[7], nested[1][0][0][1] = value, value
        end = f"{found}must be a whole number from 0 to 255"
        assert refusal(pixels(flat)) == f"inputs[0].data[7]: {end}"
        assert refusal(pixels(nested)) == f"inputs[0].data[1][0][0][1]: {end}"

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ([], "inputs[0].data: has 0 entries; must be a list of 12"),
            ([1] * 11, "inputs[0].data: has 11 entries; must be a list of 12"),
            ([1] * 13, "inputs[0].data: has 13 entries; must be a list of 12"),
            (PIXELS.tolist()[:1], "inputs[0].data: has 1 entries; must be a list of 2"),
            ([PIXELS.tolist()[0], [[[1, 2, 3]]]], "inputs[0].data[1]: has 1 entries; must be a list of 2"),
            ([PIXELS.tolist()[0], 5], "inputs[0].data[1]: must be a list of 2"),
            ([[[[1, 2, 3]], [[1, 2]]]] * 2, "inputs[0].data[0][1][0]: has 2 entries; must be a list of 3"),
            ({"0": 1}, "inputs[0].data: must be a list of 12"),
        ],
    )
    def test_lists_that_do_not_fit(self, data: Any, message: str) -> None:
        assert refusal(pixels(data)) == message

    @pytest.mark.parametrize("shape", [[2, 3, 2, 1], [2, 6], [12], [2, 2, 1, 3, 1]])
    def test_another_shape(self, shape: list[int]) -> None:
        message = f"inputs[0].shape: is {shape}; pixels takes [n, 2, 1, 3]"
        assert refusal(pixels([0] * 12, shape=shape)) == message

    def test_not_a_number_is_no_json(self) -> None:
        assert "is not JSON" in refusal(pixels([float("nan")] * 12))

    def test_it_takes_little_time(self) -> None:
        """Eight images of 299 × 299: nothing that grows faster than the request."""
        size = (299, 299, 3)
        signature = Signature(
            inputs={"pixels": Tensor(dtype="DT_UINT8", shape=(-1, *size))}, outputs={"scores": SCORES}
        )
        model = MODEL.model_copy(update={"signatures": {"pixels": signature}})
        values = np.random.default_rng(0).integers(0, 256, (8, *size))
        for data in (values.tolist(), values.ravel().tolist()):
            body = json.dumps({"inputs": [pixels(data, shape=[8, *size])]}).encode()
            before = time.process_time()
            request = parse_infer(body, None, model, max_images=8)
            assert time.process_time() - before < 3
            assert np.array_equal(request.inputs, values)
