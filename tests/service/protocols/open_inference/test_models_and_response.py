"""What the Open Inference Protocol answers: scores, models, states, and their description."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from service.core.errors import BadRequestError, ModelNotFoundError, NotReadyError, ServiceError
from service.core.serving_state import ModelSpec, RunnerState, VersionState, VersionStatus
from service.protocols.open_inference import models as oip
from service.protocols.open_inference import schema as oip_schema
from service.protocols.open_inference.request import InferRequest, RequestedOutput, parse_infer
from service.protocols.open_inference.response import format_infer
from service.version import VERSION
from tests.service.protocols.open_inference.samples import MODEL, A, B, images, served, text


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

    def status(version: int, state: VersionState, message: str = "") -> VersionStatus:
        return VersionStatus(version=version, digest="", state=state, error_message=message)

    return RunnerState(
        name="cats",
        process="p",
        waiting_for=None,
        default=1,
        labels={"stable": 1, "canary": 3, "next": 4},
        versions=(
            status(5, VersionState.WARMING),
            status(4, VersionState.FAILED, "bytes differ"),
            status(3, VersionState.AVAILABLE),
            status(2, VersionState.UNLOADED),
            status(1, VersionState.AVAILABLE),
        ),
        served=(served(3, "canary"), served(1, "stable")),
    )


STARTING = RunnerState(name="cats", process="p", waiting_for="pulling", default=None, labels={}, versions=(), served=())


class TestModels:
    @pytest.mark.parametrize(
        ("version", "number"), [(None, 1), ("3", 3), ("003", 3), ("1", 1), ("stable", 1), ("canary", 3)]
    )
    def test_the_version_that_is_asked_for(self, state: RunnerState, version: str | None, number: int) -> None:
        assert oip.require_model(state, oip.parse_target("cats", version)).version == number

    @pytest.mark.parametrize(
        ("target", "error", "message"),
        [
            (ModelSpec("dogs"), ModelNotFoundError, "Request for unknown model: 'dogs' is not found"),
            (ModelSpec("dogs", 1), ModelNotFoundError, "Request for unknown model: 'dogs' is not found"),
            (ModelSpec("cats", 7), ModelNotFoundError, "Request for unknown model: 'cats' version 7 is not found"),
            (ModelSpec("cats", 2), ModelNotFoundError, "Request for unknown model: 'cats' version 2 is not found"),
            (
                ModelSpec("cats", label="x"),
                ModelNotFoundError,
                "Request for unknown model: 'cats' version x is not found",
            ),
            (
                ModelSpec("cats", 5),
                NotReadyError,
                "Request for unknown model: 'cats' version 5 is not at ready state (warming)",
            ),
            (
                ModelSpec("cats", label="next"),
                NotReadyError,
                "Request for unknown model: 'cats' version next is not at ready state (failed: bytes differ)",
            ),
        ],
    )
    def test_what_does_not_answer(
        self, state: RunnerState, target: ModelSpec, error: type[ServiceError], message: str
    ) -> None:
        with pytest.raises(error) as refused:
            oip.require_model(state, target)
        assert str(refused.value) == message

    @pytest.mark.parametrize("target", [ModelSpec("cats"), ModelSpec("cats", 1), ModelSpec("cats", label="stable")])
    def test_before_anything_answers(self, target: ModelSpec) -> None:
        for refused in (lambda: oip.require_model(STARTING, target), lambda: STARTING.require_ready()):
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
        for known in VersionState:
            alone = state.model_copy(update={"versions": (VersionStatus(version=1, digest="", state=known),)})
            [entry] = json.loads(oip.format_index(alone, ready_only=False))
            assert entry["state"] in {"UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"}
            assert (entry["state"] == "READY") == (known == VersionState.AVAILABLE)

    @pytest.mark.parametrize(("body", "ready"), [(b"", False), (b"{}", False), (b'{"ready": true}', True)])
    def test_index_request(self, body: bytes, ready: bool) -> None:
        assert oip.parse_index_request(body) is ready

    @pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready": 1}', b"null"])
    def test_broken_index_request(self, body: bytes) -> None:
        with pytest.raises(BadRequestError):
            oip.parse_index_request(body)

    def test_the_server_says_its_version(self) -> None:
        document = json.loads(oip.format_server())
        assert (document["name"], document["version"]) == ("xception-service", VERSION)
        assert document["extensions"] == ["binary_tensor_data", "classification", "schedule_policy"]


class TestDescription:
    def test_bodies_are_as_described(self, state: RunnerState) -> None:
        oip_schema.MetadataServerResponse.model_validate_json(oip.format_server(), extra="forbid")
        model = oip.format_model(state, state.served[0])
        oip_schema.MetadataModelResponse.model_validate_json(model, extra="forbid")
        for entry in json.loads(oip.format_index(state, ready_only=False)):
            oip_schema.RepositoryModel.model_validate(entry, extra="forbid")
        for output in (RequestedOutput("scores", binary, best) for binary in (True, False) for best in (0, 2)):
            body, _, headers = format_infer(InferRequest([], [], output, "42"), MODEL, TestAnswer.scores)
            document = body[: int(headers.get("Inference-Header-Content-Length", len(body)))]
            oip_schema.InferenceResponse.model_validate_json(document, extra="forbid")

    def test_what_is_described_is_taken(self) -> None:
        document = {
            "id": "42",
            "inputs": [images(text(A), parameters={"content_type": "base64"})],
            "outputs": [{"name": "scores", "parameters": {"binary_data": True, "classification": 3}}],
            "parameters": {"binary_data_output": False, "timeout": 1, "priority": 2},
        }
        described = oip_schema.InferenceRequest.model_validate(document, extra="forbid")
        body = described.model_dump_json(exclude_none=True).encode()
        assert parse_infer(body, None, MODEL, 4) == parse_infer(json.dumps(document).encode(), None, MODEL, 4)
