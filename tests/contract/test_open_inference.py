"""The Open Inference Protocol over the real wire, mostly as the public client of Triton speaks it."""

from __future__ import annotations

from typing import Any

import gevent.monkey
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferRequestedOutput, InferResult, aio
from tritonclient.utils import InferenceServerException

from tests.contract.calls import error_of
from tests.contract.conftest import V2Service
from tests.contract.triton import INFER, image_input, pixel_input, refused
from tests.server import Server

UNKNOWN = "Request for unknown model: 'xception' version 7 is not found"


def test_the_client_patches_nothing() -> None:
    """It stands on gevent, which must leave the sockets of all other tests alone."""
    assert not gevent.monkey.saved


def test_before_there_is_a_model(v2_service: V2Service) -> None:
    """The first test that uses the service, whose store is still empty."""
    assert not v2_service.published
    with InferenceServerClient(v2_service.server.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("xception")
        assert client.get_server_metadata()["name"] == "xception-service"
        status, message = refused(client, "xception", [image_input([b"x"])])
        assert status == "503"
        assert message
        [entry] = client.get_model_repository_index()
        assert (entry["name"], entry["state"]) == ("xception", "UNAVAILABLE")
        assert not client.is_model_ready("other")


class TestServerAndModels:
    def test_server(self, client: InferenceServerClient) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        metadata = client.get_server_metadata()
        assert metadata["name"] == "xception-service"
        assert metadata["extensions"] == ["binary_tensor_data", "classification", "schedule_policy"]

    @pytest.mark.parametrize(("version", "number"), [("", "1"), ("1", "1"), ("2", "2"), ("canary", "2")])
    def test_model(self, client: InferenceServerClient, version: str, number: str) -> None:
        assert client.is_model_ready("xception", version)
        metadata = client.get_model_metadata("xception", version)
        assert metadata["name"] == "xception"
        assert metadata["versions"] == ["1", "2"]
        assert metadata["platform"] == "openvino_ir"
        tensors = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in metadata["inputs"]}
        assert tensors == {"image_bytes": ("BYTES", [-1]), "pixels": ("UINT8", [-1, 71, 71, 3])}
        assert metadata["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}]
        assert metadata["parameters"]["version"] == number
        assert metadata["parameters"]["digest"].startswith("sha256:")
        assert metadata["classes"] == [str(digit) for digit in range(10)]

    @pytest.mark.parametrize(
        ("model", "version", "status", "message"),
        [
            ("other", "", "404", "Request for unknown model: 'other' is not found"),
            ("other", "1", "404", "Request for unknown model: 'other' is not found"),
            ("xception", "7", "404", UNKNOWN),
            ("xception", "beta", "404", "Request for unknown model: 'xception' version beta is not found"),
            ("xception", "9" * 30, "400", "failed to get model version from specified version string: it is too"),
            ("xception", "3", "503", "Request for unknown model: 'xception' version 3 is not at ready state (failed"),
            ("xception", "next", "404", "Request for unknown model: 'xception' version next is not found"),
        ],
    )
    def test_what_is_not_there(
        self,
        client: InferenceServerClient,
        v2_server: Server,
        files: list[bytes],
        model: str,
        version: str,
        status: str,
        message: str,
    ) -> None:
        assert not client.is_model_ready(model, version)
        with pytest.raises(InferenceServerException) as raised:
            client.get_model_metadata(model, version)
        assert raised.value.status() == status
        assert raised.value.message().startswith(message)
        asked, said = refused(client, model, [image_input(files[:1])], model_version=version)
        assert (asked, said) == (status, raised.value.message())
        if status == "503":
            assert v2_server.client.get(f"/v2/models/{model}/versions/{version}").headers["retry-after"] == "1"

    def test_repository(self, client: InferenceServerClient, v2_server: Server) -> None:
        index = {entry["version"]: entry for entry in client.get_model_repository_index()}
        assert {version: entry["state"] for version, entry in index.items()} == {
            "1": "READY",
            "2": "READY",
            "3": "UNAVAILABLE",
        }
        assert index["3"]["reason"]
        ready = v2_server.client.post("/v2/repository/index", json={"ready": True}).json()
        assert [entry["version"] for entry in ready] == ["2", "1"]
        assert v2_server.client.post("/v2/repository/index", content=b"[1]").status_code == 400

    def test_versions_come_and_go_by_labels_alone(self, client: InferenceServerClient) -> None:
        for control in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="with the labels in the store") as raised:
                control("xception")
            assert raised.value.status() == "400"
            with pytest.raises(InferenceServerException, match="'other' is not found"):
                control("other")

    def test_paths_and_methods(self, v2_server: Server) -> None:
        assert error_of(v2_server.client.get("/v2/models/xception/config")).startswith("no such path")
        assert v2_server.client.get(INFER).status_code == 405
        assert v2_server.client.get("/v2/health/live").json() == {"live": True}
        assert v2_server.client.get("/v2/health/ready").json() == {"ready": True}
        assert v2_server.client.get("/v2/models/xception/ready").json() == {
            "name": "xception",
            "ready": True,
        }


class TestInfer:
    @pytest.mark.parametrize("as_binary", [True, False])
    @pytest.mark.parametrize("shape", [[10], [10, 1]])
    def test_images(
        self, client: InferenceServerClient, files: list[bytes], scores: Any, as_binary: bool, shape: list[int]
    ) -> None:
        wanted = [InferRequestedOutput("scores", binary_data=as_binary)]
        result = client.infer("xception", [image_input(files, as_binary, shape)], outputs=wanted, request_id="42")
        response = result.get_response()
        assert (response["model_name"], response["model_version"], response["id"]) == ("xception", "1", "42")
        assert ("data" in result.get_output("scores")) == (not as_binary)
        assert result.as_numpy("scores").dtype == np.float32
        np.testing.assert_allclose(result.as_numpy("scores"), scores, atol=1e-3)

    @pytest.mark.parametrize("as_binary", [True, False])
    def test_pixels(self, client: InferenceServerClient, pixels: Any, scores: Any, as_binary: bool) -> None:
        result = client.infer("xception", [pixel_input(pixels[:4], as_binary)])
        assert "binary_data_size" in result.get_output("scores")["parameters"]  # The client asks for all in binary.
        np.testing.assert_allclose(result.as_numpy("scores"), scores[:4], atol=1e-3)

    def test_nested_pixels(self, v2_server: Server, pixels: Any, scores: Any) -> None:
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [2, 71, 71, 3], "data": pixels[:2].tolist()}
        answer = v2_server.client.post(INFER, json={"inputs": [tensor]})
        assert list(answer.json()) == ["model_name", "model_version", "outputs"]
        assert answer.headers["x-model-version"] == "1"
        assert "infer;dur=" in answer.headers["server-timing"]
        np.testing.assert_allclose(answer.json()["outputs"][0]["data"], scores[:2].ravel(), atol=1e-3)

    @pytest.mark.parametrize(
        ("version", "number", "digit"), [("", "1", 8), ("1", "1", 8), ("2", "2", 9), ("canary", "2", 9)]
    )
    def test_versions(
        self, client: InferenceServerClient, files: list[bytes], version: str, number: str, digit: int
    ) -> None:
        result = client.infer("xception", [image_input(files[8:9])], model_version=version)
        assert result.get_response()["model_version"] == number
        assert result.as_numpy("scores").argmax() == digit

    @pytest.mark.parametrize("as_binary", [True, False])
    def test_the_best_classes(
        self, client: InferenceServerClient, files: list[bytes], scores: Any, as_binary: bool
    ) -> None:
        wanted = [InferRequestedOutput("scores", binary_data=as_binary, class_count=2)]
        best = client.infer("xception", [image_input(files)], outputs=wanted).as_numpy("scores")
        assert best.shape == (10, 2)
        for digit, text in enumerate(best[:, 0]):
            score, index, name = (text.decode() if as_binary else text).split(":")
            assert (index, name) == (str(digit), str(digit))
            assert float(score) == pytest.approx(scores[digit, digit], abs=1e-3)

    def test_a_raw_image(self, v2_server: Server, files: list[bytes]) -> None:
        answer = v2_server.client.post(INFER, content=files[8], headers={"Inference-Header-Content-Length": "0"})
        output = answer.json()["outputs"][0]
        assert output["shape"] == [1, 10]
        assert np.argmax(output["data"]) == 8

    def test_many_at_once(self, client: InferenceServerClient, files: list[bytes]) -> None:
        waiting = [client.async_infer("xception", [image_input([file])]) for file in files]
        results: list[InferResult] = [request.get_result() for request in waiting]
        assert [result.as_numpy("scores").argmax() for result in results] == list(range(10))

    async def test_asynchronous_client(self, v2_server: Server, files: list[bytes]) -> None:
        async with aio.InferenceServerClient(v2_server.url.removeprefix("http://")) as client:
            result = await client.infer("xception", [image_input(files)])
        assert result.as_numpy("scores").argmax(axis=1).tolist() == list(range(10))

    @pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
    def test_compression(self, client: InferenceServerClient, pixels: Any, scores: Any, algorithm: str) -> None:
        result = client.infer(
            "xception",
            [pixel_input(pixels)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        np.testing.assert_allclose(result.as_numpy("scores"), scores, atol=1e-3)
