"""The Open Inference Protocol, as far as it is pure: requests to images and pixels, scores and states to bodies."""

from __future__ import annotations

import json
import time
import tomllib
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from model_store.manifest import InputContract, Signature, Tensor
from service import oip
from service.admission import Priority
from service.errors import BadRequestError, ModelNotFoundError, NotReadyError, ServiceError
from service.oip_request import InferRequest, RequestedOutput, parse_header_length, parse_infer
from service.oip_response import format_infer
from service.state import RunnerState, ServedModel, State, Target, VersionStatus
from tests.server import ROOT

A, B = b"\xff\xd8image one", b"\x89PNG image two"
STRINGS = Tensor(dtype="DT_STRING", shape=(-1,))
SCORES = Tensor(dtype="DT_FLOAT", shape=(-1, 3))
SIGNATURES = {
    "serving_default": Signature(inputs={"image_bytes": STRINGS}, outputs={"scores": SCORES}),
    "pixels": Signature(inputs={"pixels": Tensor(dtype="DT_UINT8", shape=(-1, 2, 1, 3))}, outputs={"scores": SCORES}),
    "classify_images": Signature(
        inputs={"inputs": STRINGS},
        outputs={"classes": Tensor(dtype="DT_STRING", shape=(-1, 3)), "scores": SCORES},
        method="classify",
    ),
    "two": Signature(inputs={"a": STRINGS, "b": STRINGS}, outputs={"scores": SCORES}),
}
PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 1, 3)


def served(version: int, *labels: str) -> ServedModel:
    return ServedModel(
        name="cats",
        version=version,
        digest=f"sha256:{version:064}",
        labels=labels,
        variant="openvino/fp32",
        input=InputContract(height=2, width=1),
        classes=("cat", "dog", "Übertier"),
        signatures=SIGNATURES,
    )


MODEL = served(3)


def text(data: bytes) -> str:
    return b64encode(data).decode()


def images(*data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "image_bytes", "datatype": "BYTES", "shape": [len(data)], "data": list(data), **changes}


def pixels(data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": [2, 2, 1, 3], "data": data, **changes}


def binary(tensor: dict[str, Any], size: int, **parameters: Any) -> dict[str, Any]:
    kept = {key: value for key, value in tensor.items() if key != "data"}
    return {**kept, "parameters": {"binary_data_size": size, **parameters}}


def packed(*elements: bytes) -> bytes:
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def parse(tensor: Any, behind: bytes = b"", **document: Any) -> InferRequest:
    body = json.dumps({"inputs": [tensor], **document}).encode()
    return parse_infer(body + behind, len(body), MODEL, max_images=4)


def refusal(tensor: Any, behind: bytes = b"", **document: Any) -> str:
    with pytest.raises(BadRequestError) as refused:
        parse(tensor, behind, **document)
    return str(refused.value)


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


class TestRequest:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "the request is not JSON"),
            (b'{"inputs": [', "the request is not JSON"),
            (b'{"id": "\xff"}', "the request is not JSON"),
            (b"[" * 100_000, "the request is not JSON"),
            (b"[]", "the request: must be an object"),
            (b"{}", "inputs: must be a list with one tensor, image_bytes or pixels"),
            (b'{"inputs": {}}', "inputs: must be a list with one tensor, image_bytes or pixels"),
            (b'{"inputs": []}', "inputs: has 0 entries; must be a list with one tensor, image_bytes or pixels"),
            (b'{"inputs": [{}, {}]}', "inputs: has 2 entries; must be a list with one tensor, image_bytes or pixels"),
            (b'{"inputs": [7]}', "inputs[0]: must be an object"),
            (b'{"inputs": [{}]}', "inputs[0].name: must be a string"),
        ],
    )
    def test_what_is_none(self, body: bytes, message: str) -> None:
        with pytest.raises(BadRequestError) as refused:
            parse_infer(body, None, MODEL, 4)
        assert str(refused.value).startswith(message)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"name": "x"}, "inputs[0].name: the model has no input 'x'; it takes image_bytes or pixels"),
            ({"name": "inputs"}, "inputs[0].name: the model has no input 'inputs'; it takes image_bytes or pixels"),
            ({"name": None}, "inputs[0].name: must be a string"),
            ({"datatype": "UINT8"}, "inputs[0].datatype: is 'UINT8'; image_bytes takes BYTES"),
            ({"datatype": 7}, "inputs[0].datatype: must be a string"),
            ({"parameters": []}, "inputs[0].parameters: must be an object"),
            (
                {"parameters": {"shared_memory_region": "r"}},
                "inputs[0].parameters.shared_memory_region: shared memory is not supported; send the data itself",
            ),
        ],
    )
    def test_the_input(self, changes: dict[str, Any], message: str) -> None:
        assert refusal(images(text(A), **changes)) == message

    def test_the_model_needs_no_images(self) -> None:
        only = MODEL.model_copy(update={"signatures": {"pixels": SIGNATURES["pixels"]}})
        with pytest.raises(BadRequestError, match="is 0, and the model takes no encoded images"):
            parse_infer(A, 0, only, 4)

    def test_json_and_binary_data_must_agree(self) -> None:
        field = "inputs[0].parameters.binary_data_size"
        hint = "(Inference-Header-Content-Length says where it ends)"
        behind = packed(A)
        assert refusal(images(text(A)), behind) == f"{field}: is missing; 15 bytes follow the JSON {hint}"
        assert refusal(binary(images(0), 14), behind) == f"{field}: is 14; 15 bytes follow the JSON {hint}"
        assert refusal(binary(images(0), 16), behind) == f"{field}: is 16; 15 bytes follow the JSON {hint}"
        for size in (-1, 1.5, True, "15", 2**64):
            assert refusal(binary(images(0), size), behind) == f"{field}: must be a whole number from 0"
        both = {**images(text(A)), "parameters": {"binary_data_size": 15}}
        assert refusal(both, behind) == "inputs[0].data: stands beside binary_data_size; give one of them"

    @pytest.mark.parametrize(("header", "length"), [(None, None), ("0", 0), ("10", 10), ("0010", 10)])
    def test_header_length(self, header: str | None, length: int | None) -> None:
        assert parse_header_length(header, 10) == length

    @pytest.mark.parametrize("header", ["", "-1", "x", "1.0", "11", "٣", "9" * 5000])
    def test_broken_header_length(self, header: str) -> None:
        with pytest.raises(BadRequestError, match=r"^Inference-Header-Content-Length: "):
            parse_header_length(header, 10)

    def test_id_and_policy(self) -> None:
        request = parse(images(text(A)), id="42", parameters={"timeout": 1500, "priority": 2, "unknown": [1]})
        assert (request.id, request.timeout_s, request.priority) == ("42", 0.0015, Priority.BULK)
        assert parse(images(text(A)), parameters={"priority": 1}).priority == Priority.INTERACTIVE
        request = parse(images(text(A)), id=None, parameters={"timeout": 0, "priority": 0})
        assert (request.id, request.timeout_s, request.priority) == (None, None, None)
        assert refusal(images(text(A)), id=7) == "id: must be a string"
        assert refusal(images(text(A)), parameters=7) == "parameters: must be an object"
        for key in ("timeout", "priority"):
            for value in (-1, 1.5, "1", True, 2**70):
                message = f"parameters.{key}: must be a whole number from 0"
                assert refusal(images(text(A)), parameters={key: value}) == message

    @pytest.mark.parametrize(
        ("document", "output"),
        [
            ({}, RequestedOutput("scores")),
            ({"outputs": []}, RequestedOutput("scores")),
            ({"parameters": {"binary_data_output": True}}, RequestedOutput("scores", binary=True)),
            ({"outputs": [{"name": "scores"}]}, RequestedOutput("scores")),
            ({"outputs": [{"name": "scores", "parameters": {"binary_data": True}}]}, RequestedOutput("scores", True)),
            (
                {
                    "outputs": [{"name": "scores", "parameters": {"binary_data": False, "classification": 9}}],
                    "parameters": {"binary_data_output": True},
                },
                RequestedOutput("scores", False, 9),
            ),
        ],
    )
    def test_outputs(self, document: dict[str, Any], output: RequestedOutput) -> None:
        assert parse(images(text(A)), **document).output == output

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({"outputs": {}}, "outputs: must be a list"),
            ({"outputs": [7]}, "outputs[0]: must be an object"),
            ({"outputs": [{}]}, "outputs[0].name: must be a string"),
            ({"outputs": [{"name": "x"}]}, "outputs[0].name: the model has no output 'x'; it has scores"),
            ({"outputs": [{"name": "scores"}] * 2}, "outputs[1].name: scores is asked for twice"),
            (
                {"outputs": [{"name": "scores", "parameters": {"binary_data": 1}}]},
                "outputs[0].parameters.binary_data: must be true or false",
            ),
            (
                {"outputs": [{"name": "scores", "parameters": {"classification": 0}}]},
                "outputs[0].parameters.classification: must be a whole number from 1",
            ),
            (
                {"outputs": [{"name": "scores", "parameters": {"shared_memory_region": "r"}}]},
                "outputs[0].parameters.shared_memory_region: shared memory is not supported; send the data itself",
            ),
            ({"parameters": {"binary_data_output": "yes"}}, "parameters.binary_data_output: must be true or false"),
        ],
    )
    def test_outputs_that_are_refused(self, document: dict[str, Any], message: str) -> None:
        assert refusal(images(text(A)), **document) == message


@pytest.mark.parametrize("as_binary", [True, False])
def test_what_the_public_client_writes(as_binary: bool) -> None:
    """The bytes that tritonclient would send are read as what was put in."""
    tensor = InferInput("image_bytes", [2, 1], "BYTES")
    data = [[A], [B]] if as_binary else [[text(A)], [text(B)]]
    tensor.set_data_from_numpy(np.array(data, np.object_), binary_data=as_binary)
    outputs = [InferRequestedOutput("scores", binary_data=as_binary, class_count=2)]
    body, length = InferenceServerClient.generate_request_body([tensor], outputs, request_id="7", timeout=5, priority=1)
    request = parse_infer(body, length, MODEL, 4)
    assert request.inputs == [A, B]
    assert request.output == RequestedOutput("scores", as_binary, 2)
    assert (request.id, request.timeout_s, request.priority) == ("7", 5e-6, Priority.INTERACTIVE)


class TestAnswer:
    scores = np.array([[0.25, 0.5, 0.25], [1, 0, 1e-7]], np.float32)

    def answer(self, output: RequestedOutput, request_id: str | None = None) -> tuple[bytes, str, dict[str, str]]:
        return format_infer(InferRequest([A, B], ["", ""], output, request_id), MODEL, self.scores)

    def test_json(self) -> None:
        body, media_type, headers = self.answer(RequestedOutput("scores"), "42")
        assert (media_type, headers) == ("application/json", {})
        scores = {"name": "scores", "datatype": "FP32", "shape": [2, 3], "data": [0.25, 0.5, 0.25, 1.0, 0.0, 1e-7]}
        assert json.loads(body) == {"model_name": "cats", "model_version": "3", "id": "42", "outputs": [scores]}
        assert "id" not in json.loads(self.answer(RequestedOutput("scores"))[0])

    def test_classes_as_triton_writes_them(self) -> None:
        output = json.loads(self.answer(RequestedOutput("scores", best=2))[0])["outputs"][0]
        assert output == {
            "name": "scores",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": ["0.500000:1:dog", "0.250000:0:cat", "1.000000:0:cat", "0.000000:2:Übertier"],
        }

    def test_more_classes_than_there_are(self) -> None:
        output = json.loads(self.answer(RequestedOutput("scores", best=2**63))[0])["outputs"][0]
        assert output["shape"] == [2, 3]

    @pytest.mark.parametrize("best", [0, 3])
    def test_binary_as_the_public_client_reads_it(self, best: int) -> None:
        body, media_type, headers = self.answer(RequestedOutput("scores", True, best))
        assert media_type == "application/octet-stream"
        [(name, length)] = headers.items()
        assert name == "Inference-Header-Content-Length"
        result = InferenceServerClient.parse_response_body(body, header_length=int(length))
        if best:
            assert result.as_numpy("scores").tolist()[1] == [
                b"1.000000:0:cat",
                "0.000000:2:Übertier".encode(),
                b"0.000000:1:dog",
            ]
        else:
            assert np.array_equal(result.as_numpy("scores"), self.scores)


@pytest.fixture
def state() -> RunnerState:
    """Versions 1 and 3 answer; 4 failed, 5 is on its way, 2 is gone; `next` leads to 4."""

    def status(version: int, state: State, message: str = "") -> VersionStatus:
        return VersionStatus(version=version, digest="", state=state, error_message=message)

    return RunnerState(
        name="cats",
        revision="1",
        waiting_for=None,
        default=1,
        labels={"stable": 1, "canary": 3, "next": 4},
        versions=(
            status(5, State.WARMING),
            status(4, State.FAILED, "bytes differ"),
            status(3, State.AVAILABLE),
            status(2, State.UNLOADED),
            status(1, State.AVAILABLE),
        ),
        served=(served(3, "canary"), served(1, "stable")),
    )


STARTING = RunnerState(
    name="cats", revision="1", waiting_for="pulling", default=None, labels={}, versions=(), served=()
)


class TestModels:
    @pytest.mark.parametrize(
        ("version", "number"), [(None, 1), ("3", 3), ("003", 3), ("1", 1), ("stable", 1), ("canary", 3)]
    )
    def test_the_version_that_is_asked_for(self, state: RunnerState, version: str | None, number: int) -> None:
        assert oip.require_model(state, oip.parse_target("cats", version)).version == number

    @pytest.mark.parametrize(
        ("target", "error", "message"),
        [
            (Target("dogs"), ModelNotFoundError, "Request for unknown model: 'dogs' is not found"),
            (Target("dogs", 1), ModelNotFoundError, "Request for unknown model: 'dogs' is not found"),
            (Target("cats", 7), ModelNotFoundError, "Request for unknown model: 'cats' version 7 is not found"),
            (Target("cats", 2), ModelNotFoundError, "Request for unknown model: 'cats' version 2 is not found"),
            (
                Target("cats", label="x"),
                ModelNotFoundError,
                "Request for unknown model: 'cats' version x is not found",
            ),
            (
                Target("cats", 5),
                NotReadyError,
                "Request for unknown model: 'cats' version 5 is not at ready state (warming)",
            ),
            (
                Target("cats", label="next"),
                NotReadyError,
                "Request for unknown model: 'cats' version next is not at ready state (failed: bytes differ)",
            ),
        ],
    )
    def test_what_does_not_answer(
        self, state: RunnerState, target: Target, error: type[ServiceError], message: str
    ) -> None:
        with pytest.raises(error) as refused:
            oip.require_model(state, target)
        assert str(refused.value) == message

    @pytest.mark.parametrize("target", [Target("cats"), Target("cats", 1), Target("cats", label="stable")])
    def test_before_anything_answers(self, target: Target) -> None:
        for refused in (lambda: oip.require_model(STARTING, target), lambda: oip.require_ready(STARTING)):
            with pytest.raises(NotReadyError, match="no model is available yet: pulling"):
                refused()

    def test_a_version_beyond_all_numbers(self) -> None:
        with pytest.raises(BadRequestError, match="failed to get model version from specified version string"):
            oip.parse_target("cats", "9" * 5000)

    def test_metadata(self, state: RunnerState) -> None:
        document = json.loads(oip.format_model(state, state.served[0]))
        assert document == {
            "name": "cats",
            "versions": ["1", "3"],
            "platform": "openvino_ir",
            "inputs": [
                {
                    "name": "image_bytes",
                    "datatype": "BYTES",
                    "shape": [-1],
                    "parameters": {"signature": "serving_default"},
                },
                {"name": "pixels", "datatype": "UINT8", "shape": [-1, 2, 1, 3], "parameters": {"signature": "pixels"}},
            ],
            "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
            "parameters": {
                "version": "3",
                "labels": "canary",
                "digest": f"sha256:{3:064}",
                "variant": "openvino/fp32",
                "height": 2,
                "width": 1,
                "color": "rgb",
                "resize": "bilinear",
                "antialias": True,
            },
            "classes": ["cat", "dog", "Übertier"],
        }

    def test_index(self, state: RunnerState) -> None:
        entries = json.loads(oip.format_index(state, ready_only=False))
        assert [(entry["version"], entry["state"], entry["reason"]) for entry in entries] == [
            ("5", "LOADING", "warming"),
            ("4", "UNAVAILABLE", "bytes differ"),
            ("3", "READY", ""),
            ("2", "UNAVAILABLE", "unloaded"),
            ("1", "READY", ""),
        ]
        ready = json.loads(oip.format_index(state, ready_only=True))
        assert ready == [{"name": "cats", "version": version, "state": "READY", "reason": ""} for version in ("3", "1")]
        assert json.loads(oip.format_index(STARTING, ready_only=False)) == [
            {"name": "cats", "state": "UNAVAILABLE", "reason": "pulling"}
        ]

    def test_every_state_has_a_name(self, state: RunnerState) -> None:
        for known in State:
            alone = state.model_copy(update={"versions": (VersionStatus(version=1, digest="", state=known),)})
            [entry] = json.loads(oip.format_index(alone, ready_only=False))
            assert entry["state"] in {"UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"}
            assert (entry["state"] == "READY") == (known == State.AVAILABLE)

    @pytest.mark.parametrize(("body", "ready"), [(b"", False), (b"{}", False), (b'{"ready": true}', True)])
    def test_index_request(self, body: bytes, ready: bool) -> None:
        assert oip.parse_index_request(body) is ready

    @pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready": 1}', b"null"])
    def test_broken_index_request(self, body: bytes) -> None:
        with pytest.raises(BadRequestError):
            oip.parse_index_request(body)

    def test_the_server_says_its_version(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        document = json.loads(oip.format_server())
        assert (document["name"], document["version"]) == (project["name"], project["version"])
        assert document["extensions"] == ["binary_tensor_data", "classification", "schedule_policy"]
