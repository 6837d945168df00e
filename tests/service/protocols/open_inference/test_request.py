"""The inference request of the Open Inference Protocol, apart from its tensors."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from service.core.deadline import Priority
from service.core.errors import BadRequestError
from service.protocols.open_inference.request import RequestedOutput, parse_header_length, parse_infer
from service.protocols.open_inference.response import format_infer
from tests.service.protocols.open_inference.samples import (
    MODEL,
    PIXELS,
    SIGNATURES,
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


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    3,
    2**63,
    2**64,
    1e300,
    0.5,
    "",
    "1",
    "AAAA",
    [],
    [[]],
    [1],
    [[1, 2, 3]],
    {},
    {"a": 1},
]


def mutate(part: Any, dice: random.Random) -> Any:
    """Return the document with something in it that does not belong there."""
    if isinstance(part, dict | list) and part and dice.random() < 0.85:
        chosen = dice.choice(list(part) if isinstance(part, dict) else range(len(part)))
        changed = part.copy()
        if dice.random() < 0.1:
            del changed[chosen]
        else:
            changed[chosen] = mutate(part[chosen], dice)
        return changed
    return dice.choice(ODD)


def test_whatever_comes_is_read_or_refused() -> None:
    """Thousands of requests with something wrong: each can be answered, or is refused and raises nothing else."""
    dice = random.Random(0)
    parameters = {"timeout": 1, "priority": 1, "binary_data_output": True}
    outputs = [{"name": "scores", "parameters": {"binary_data": True, "classification": 2}}]
    rest = {"id": "1", "outputs": outputs, "parameters": parameters}
    behind = packed(A, B)
    valid = [
        ({"inputs": [images([text(A)], [text(B)], shape=[2, 1])], **rest}, b""),
        ({"inputs": [pixels(PIXELS.tolist())], **rest}, b""),
        ({"inputs": [pixels(PIXELS.ravel().tolist())], **rest}, b""),
        ({"inputs": [binary(images(0, 0), len(behind))], **rest}, behind),
        ({"inputs": [binary(pixels(None), 12)], **rest}, PIXELS.tobytes()),
    ]
    read = 0
    for _ in range(20_000):
        document, raw = dice.choice(valid)
        body = json.dumps(mutate(document, dice)).encode()
        header_length = dice.choice([len(body), len(body), len(body), None, dice.randrange(len(body) + 1)])
        if dice.random() < 0.3:
            at = dice.randrange(len(raw) + 1)
            raw = raw[:at] + dice.randbytes(dice.randrange(3)) + raw[at + dice.randrange(3) :]
        try:
            request = parse_infer(body + raw, header_length, MODEL, 4)
        except BadRequestError:
            continue
        read += 1
        format_infer(request, MODEL, np.zeros((len(request.inputs), 3), np.float32))
    assert 500 < read < 10_000


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
