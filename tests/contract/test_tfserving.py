"""TensorFlow Serving's REST API over the real wire."""

from __future__ import annotations

import io
import json
from base64 import encodebytes
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.contract.calls import MODEL, PREDICT, ask, b64, error_of, post
from tests.server import Server

CLASSIFY, REGRESS = f"{MODEL}:classify", f"{MODEL}:regress"
MUST_BE = "must be an image as {'b64': '…'}"


@pytest.fixture
def eight(golden: list[Path]) -> bytes:
    return golden[8].read_bytes()


class TestPredict:
    def test_row_format(self, server: Server, golden: list[Path], scores: Any) -> None:
        images = [b64(path.read_bytes()) for path in golden]
        for instances in (images, [{"image_bytes": image} for image in images]):
            answer = ask(server, PREDICT, {"instances": instances})
            assert list(answer.json()) == ["predictions"]
            np.testing.assert_allclose(answer.json()["predictions"], scores, atol=1e-3)
            assert answer.headers["x-model-version"] == "1"

    def test_columnar_format(self, server: Server, eight: bytes, scores: Any) -> None:
        for inputs in ([b64(eight)], {"image_bytes": [b64(eight)]}, b64(eight), {"image_bytes": b64(eight)}):
            answer = ask(server, PREDICT, {"inputs": inputs})
            assert list(answer.json()) == ["outputs"]
            np.testing.assert_allclose(answer.json()["outputs"], scores[8:9], atol=1e-3)

    def test_pixels(self, server: Server, pixels: Any, scores: Any) -> None:
        rows = pixels.tolist()
        for document in (
            {"instances": rows},
            {"instances": [{"pixels": row} for row in rows]},
            {"inputs": rows},
            {"inputs": {"pixels": rows}},
        ):
            answer = ask(server, PREDICT, {"signature_name": "pixels", **document})
            (outputs,) = answer.json().values()
            np.testing.assert_allclose(outputs, scores, atol=1e-3)

    def test_as_curl_sends_it(self, server: Server, eight: bytes) -> None:
        """`curl -d` with the output of `base64`: wrapped lines, and no content type of its own."""
        body = json.dumps({"signature_name": "serving_default", "instances": [{"b64": encodebytes(eight).decode()}]})
        answer = post(server, PREDICT, body, "application/x-www-form-urlencoded")
        assert answer.status_code == 200
        assert len(answer.json()["predictions"][0]) == 10

    def test_by_version_and_by_label(self, server: Server, eight: bytes) -> None:
        for path in (f"{MODEL}/versions/1", f"{MODEL}/versions/001", f"{MODEL}/labels/stable"):
            answer = ask(server, f"{path}:predict", {"instances": [b64(eight)]})
            assert answer.status_code == 200
            assert answer.headers["x-model-version"] == "1"

    def test_more_instances_than_a_batch(self, server: Server, eight: bytes) -> None:
        rows = ask(server, PREDICT, {"instances": [b64(eight)] * 100}).json()["predictions"]
        assert len(rows) == 100
        assert all(row == pytest.approx(rows[0], abs=1e-5) for row in rows)

    def test_fixed_texts(self, server: Server, eight: bytes) -> None:
        for document, text in [
            ({}, "Missing 'inputs' or 'instances' key"),
            ({"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
            ({"signature_name": "x"}, 'Serving signature name: "x" not found in signature def'),
            ({"inputs": {"image": []}}, "Missing named input: image_bytes in 'inputs' object."),
            (
                {"instances": [b64(eight), {"image": 1}]},
                "Expecting value/list but got object at item 1 of input list",
            ),
        ]:
            answer = ask(server, PREDICT, document)
            assert answer.status_code == 400
            assert error_of(answer) == text

    def test_the_bad_image_among_good_ones_is_named(self, server: Server, eight: bytes) -> None:
        out = io.BytesIO()
        Image.new("L", (2000, 1001)).save(out, "PNG")
        unable = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode"
        for bad, text in [
            ({"b64": "!"}, f"{unable} (instances[1]: is not base64)"),
            (b64(b""), "instances[1]: the image is empty"),
            (
                b64(b"no image"),
                "instances[1]: the bytes are not an image of a known format (JPEG, PNG, GIF, BMP, WEBP)",
            ),
            (b64(b"x" * (2**21 + 1)), "instances[1]: the image has 2097153 bytes; the limit is 2097152"),
            (b64(out.getvalue()), "instances[1]: the image has 2000 × 1001 pixels; the limit is 2000000 in all"),
        ]:
            answer = ask(server, PREDICT, {"instances": [b64(eight), bad]})
            assert answer.status_code == 400
            assert error_of(answer) == text
        cut = b64(eight[:100])
        for document, start in [
            ({"instances": [b64(eight), cut]}, "instances[1]: the image cannot be decoded"),
            ({"instances": [{"image_bytes": cut}]}, "instances[0].image_bytes: the image cannot be decoded"),
            ({"inputs": {"image_bytes": cut}}, "inputs.image_bytes: the image cannot be decoded"),
        ]:
            assert error_of(ask(server, PREDICT, document)).startswith(start)

    def test_bad_pixels_are_named(self, server: Server, pixels: Any) -> None:
        rows = pixels[:2].tolist()
        rows[1][70][69][2] = 256
        answer = ask(server, PREDICT, {"signature_name": "pixels", "instances": rows})
        assert answer.status_code == 400
        assert error_of(answer) == "instances[1][70][69][2]: is 256; must be a whole number from 0 to 255"
        answer = ask(server, PREDICT, {"signature_name": "pixels", "instances": [rows[0], rows[1][:70]]})
        assert error_of(answer) == "instances[1]: has 70 entries; the signature takes 71"

    def test_too_many(self, server: Server) -> None:
        answer = ask(server, PREDICT, {"instances": [b64(b"x")] * 401})
        assert answer.status_code == 400
        assert error_of(answer) == "instances: has 401 images; the limit is 400"

    def test_not_json_and_wrong_type(self, server: Server) -> None:
        answer = post(server, PREDICT, "{")
        assert answer.status_code == 400
        assert error_of(answer).startswith("JSON Parse error: ")
        assert error_of(post(server, PREDICT, "")) == "JSON Parse error: The document is empty"
        assert post(server, PREDICT, b"x", "image/png").status_code == 415


class TestClassify:
    def test_every_class_with_its_score(self, server: Server, golden: list[Path], scores: Any) -> None:
        examples = [{"image_bytes": b64(path.read_bytes()), "caption": "a digit"} for path in golden]
        for document in ({"signature_name": "classify_images", "examples": examples}, {"examples": examples}):
            answer = ask(server, CLASSIFY, document)
            assert list(answer.json()) == ["results"]
            results = answer.json()["results"]
            assert [[label for label, _ in row] for row in results] == [[str(digit) for digit in range(10)]] * 10
            np.testing.assert_allclose([[score for _, score in row] for row in results], scores, atol=1e-3)
            assert answer.headers["x-model-version"] == "1"

    def test_context(self, server: Server, golden: list[Path]) -> None:
        eight, three = ({"image_bytes": b64(golden[digit].read_bytes())} for digit in (8, 3))
        answer = ask(server, f"{MODEL}/labels/stable:classify", {"context": eight, "examples": [{}, three]})
        best = [max(row, key=lambda pair: pair[1])[0] for row in answer.json()["results"]]
        assert best == ["8", "3"]

    def test_bad_requests(self, server: Server, eight: bytes) -> None:
        good = {"image_bytes": b64(eight)}
        for document, text in [
            ({"examples": []}, "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
            ({"examples": [good], "signature_name": "x"}, "No signature was found with the name: x"),
            (
                {"examples": [good], "signature_name": "serving_default"},
                "Expected classification signature method_name to be tensorflow/serving/classify. "
                "Was: tensorflow/serving/predict",
            ),
            (
                {"examples": [good, {"image_bytes": "8"}]},
                f"examples[1].image_bytes: {MUST_BE}, not a plain string",
            ),
            ({"examples": [good, {"image_bytes": b64(b"")}]}, "examples[1].image_bytes: the image is empty"),
        ]:
            answer = ask(server, CLASSIFY, document)
            assert answer.status_code == 400
            assert error_of(answer) == text

    def test_predict_and_classify_keep_to_their_signatures(self, server: Server, eight: bytes) -> None:
        answer = ask(server, PREDICT, {"signature_name": "classify_images", "instances": [b64(eight)]})
        assert answer.status_code == 400
        assert error_of(answer).startswith("signature_name: 'classify_images' is for classify")

    def test_regress_is_nothing_that_this_model_does(self, server: Server, eight: bytes) -> None:
        """The request of TensorFlow Serving's page, with the name of the signature there."""
        body = '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}'
        assert post(server, REGRESS, body).status_code == 400
        answer = ask(server, REGRESS, {"examples": [{"image_bytes": b64(eight)}]})
        assert answer.status_code == 400
        assert error_of(answer) == (
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict"
        )


class TestVersions:
    def test_status(self, server: Server) -> None:
        expected = {
            "model_version_status": [
                {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        }
        for path in (MODEL, f"{MODEL}/versions/1", f"{MODEL}/labels/stable"):
            answer = server.client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == expected

    def test_metadata(self, server: Server) -> None:
        for path in (MODEL, f"{MODEL}/versions/1", f"{MODEL}/labels/stable"):
            document = server.client.get(f"{path}/metadata").json()
            assert document["model_spec"] == {"name": "xception", "signature_name": "", "version": "1"}
            signatures = document["metadata"]["signature_def"]["signature_def"]
            methods = {name: signature["method_name"] for name, signature in signatures.items()}
            assert methods == {
                "serving_default": "tensorflow/serving/predict",
                "pixels": "tensorflow/serving/predict",
                "classify_images": "tensorflow/serving/classify",
            }
            assert signatures["serving_default"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
            sizes = signatures["pixels"]["inputs"]["pixels"]["tensor_shape"]["dim"]
            assert [size["size"] for size in sizes] == ["-1", "71", "71", "3"]

    @pytest.mark.parametrize(
        ("path", "status", "text"),
        [
            ("/v1/models/other", 404, "Servable not found for request: Latest(other)"),
            ("/v1/models/other/versions/1", 404, "Servable not found for request: Specific(other, 1)"),
            (f"{MODEL}/versions/7", 404, "Servable not found for request: Specific(xception, 7)"),
            (f"{MODEL}/labels/nope", 400, "Unrecognized servable version label: nope"),
            (f"{MODEL}/versions/{2**63}", 400, f"Failed to convert version: {2**63} to numeric."),
        ],
    )
    def test_what_is_not_there(self, server: Server, eight: bytes, path: str, status: int, text: str) -> None:
        for answer in (
            ask(server, f"{path}:predict", {"instances": [b64(eight)]}),
            ask(server, f"{path}:classify", {"examples": [{"image_bytes": b64(eight)}]}),
            ask(server, f"{path}:regress", {"examples": [{"image_bytes": b64(eight)}]}),
            server.client.get(f"{path}/metadata"),
        ):
            assert answer.status_code == status
            assert error_of(answer) == text

    def test_the_404_of_the_documentation(self, server: Server) -> None:
        answer = post(server, "/v1/models/half:predict", '{"instances": [1.0,5.0]}')
        assert answer.status_code == 404
        assert error_of(answer) == "Servable not found for request: Latest(half)"

    @pytest.mark.parametrize(
        ("path", "status", "text"),
        [
            ("/v1/models/other", 404, "Could not find any versions of model other"),
            ("/v1/models/other/versions/1", 404, "Could not find version 1 of model other"),
            (f"{MODEL}/versions/7", 404, "Could not find version 7 of model xception"),
            (f"{MODEL}/labels/nope", 400, "Unrecognized servable version label: nope"),
            (f"{MODEL}/versions/{2**63}", 400, f"Failed to convert version: {2**63} to numeric."),
            ("/v1/models", 400, "Missing model name in request."),
        ],
    )
    def test_status_of_what_is_not_there(self, server: Server, path: str, status: int, text: str) -> None:
        answer = server.client.get(path)
        assert answer.status_code == status
        assert error_of(answer) == text

    @pytest.mark.parametrize(
        ("method", "path", "hint"),
        [
            ("GET", PREDICT, " (send it with POST)"),
            ("DELETE", f"{MODEL}/versions/1:classify", " (send it with POST)"),
            ("POST", MODEL, " (send it with GET)"),
            ("PUT", f"{MODEL}/labels/stable/metadata", " (send it with GET)"),
            ("POST", f"{MODEL}:nothing", ""),
            ("POST", f"{MODEL}/versions/one:predict", ""),
            ("GET", f"{MODEL}/versions/-1", ""),
            ("GET", f"{MODEL}/", ""),
            ("GET", f"{MODEL}/nothing", ""),
            ("GET", "/v1/nothing%20here", ""),
        ],
    )
    def test_malformed_paths(self, server: Server, method: str, path: str, hint: str) -> None:
        answer: httpx.Response = server.client.request(method, path)
        assert answer.status_code == 400
        assert error_of(answer) == f"Malformed request: {method} {path}{hint}"
        assert len(answer.headers["x-request-id"]) == 32

    def test_reloading_is_no_malformed_path(self, server: Server) -> None:
        assert server.client.get(f"{MODEL}/reload").status_code == 405
        assert server.client.post(f"{MODEL}/reload").status_code == 401

    def test_each_method_is_counted_by_itself(self, server: Server, eight: bytes) -> None:
        ask(server, CLASSIFY, {"examples": [{"image_bytes": b64(eight)}]})
        ask(server, REGRESS, {})
        text = server.client.get("/metrics").text
        assert 'xception_requests_total{route="classify_examples",status="200"}' in text
        assert 'xception_requests_total{route="regress",status="400"}' in text
