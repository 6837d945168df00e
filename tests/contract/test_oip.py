"""The Open Inference Protocol over the real wire, mostly as the public client of Triton speaks it."""

from __future__ import annotations

import gzip
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent.monkey
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult, aio
from tritonclient.utils import InferenceServerException

from loadtest.versions import derive_version
from model_store.publish import publish
from model_store.remote import Remote
from tests.contract.calls import error_of
from tests.server import START_TIMEOUT_S, Server

INFER = "/v2/models/xception/infer"
UNKNOWN = "Request for unknown model: 'xception' version 7 is not found"


@pytest.fixture(scope="module")
def oip_server(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 1 is `stable`; 2 is `canary` and takes an n for an n + 1; 3 is `next` and cannot be loaded."""
    folder = tmp_path_factory.mktemp("oip")
    remote = Remote.open(f"file://{folder / 'store'}", publishing=True)
    publish(package, remote, "xception", labels=("stable",))
    publish(derive_version(package, folder / "shifted", 1), remote, "xception", labels=("canary",))
    publish(derive_version(package, folder / "broken", 2, "engine"), remote, "xception", labels=("next",))
    with Server(
        folder / "server",
        MODEL_STORE_URL=f"file://{folder / 'store'}",
        MODEL_POLL_SECONDS="0",
        ENGINE="openvino",
        MAX_REQUEST_MIB="4",
        MAX_IMAGE_MIB="2",
        MAX_INSTANCES="40",
    ) as running:
        running.wait_for("/v2/models/xception/versions/canary/ready")
        until = time.monotonic() + START_TIMEOUT_S
        while "UNAVAILABLE" not in running.client.post("/v2/repository/index").text:
            assert time.monotonic() < until, running.log
            time.sleep(0.1)
        yield running


@pytest.fixture(scope="module")
def client(oip_server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(oip_server.url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def files(golden: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in golden]


@pytest.fixture(scope="module")
def pixels(package: Path) -> Any:
    """The pixels of the golden images, `uint8 [n, height, width, 3]`."""
    return np.load(package / "golden" / "pixels.npy")


@pytest.fixture(scope="module")
def scores(package: Path) -> Any:
    """What the model that was packaged gives the golden images, `[n, classes]`."""
    return np.load(package / "golden" / "scores.npy")


def image_input(files: list[bytes], as_binary: bool = True, shape: list[int] | None = None) -> InferInput:
    shape = shape or [len(files)]
    data = [data if as_binary else b64encode(data) for data in files]
    tensor = InferInput("image_bytes", shape, "BYTES")
    tensor.set_data_from_numpy(np.array(data, np.object_).reshape(shape), binary_data=as_binary)
    return tensor


def pixel_input(pixels: Any, as_binary: bool = True) -> InferInput:
    tensor = InferInput("pixels", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=as_binary)
    return tensor


def refused(client: InferenceServerClient, *arguments: Any, **options: Any) -> tuple[str, str]:
    """Return status and message of what the client raises."""
    with pytest.raises(InferenceServerException) as raised:
        client.infer(*arguments, **options)
    return raised.value.status(), raised.value.message()


def test_the_client_patches_nothing() -> None:
    """It stands on gevent, which must leave the sockets of all other tests alone."""
    assert not gevent.monkey.saved


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
        oip_server: Server,
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
            assert oip_server.client.get(f"/v2/models/{model}/versions/{version}").headers["retry-after"] == "1"

    def test_repository(self, client: InferenceServerClient, oip_server: Server) -> None:
        index = {entry["version"]: entry for entry in client.get_model_repository_index()}
        assert {version: entry["state"] for version, entry in index.items()} == {
            "1": "READY",
            "2": "READY",
            "3": "UNAVAILABLE",
        }
        assert index["3"]["reason"]
        ready = oip_server.client.post("/v2/repository/index", json={"ready": True}).json()
        assert [entry["version"] for entry in ready] == ["2", "1"]
        assert oip_server.client.post("/v2/repository/index", content=b"[1]").status_code == 400

    def test_versions_come_and_go_by_labels_alone(self, client: InferenceServerClient) -> None:
        for control in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="with the labels in the store") as raised:
                control("xception")
            assert raised.value.status() == "400"
            with pytest.raises(InferenceServerException, match="'other' is not found"):
                control("other")

    def test_paths_and_methods(self, oip_server: Server) -> None:
        assert error_of(oip_server.client.get("/v2/models/xception/config")).startswith("no such path")
        assert oip_server.client.get(INFER).status_code == 405
        assert oip_server.client.get("/v2/health/live").json() == {"live": True}
        assert oip_server.client.get("/v2/health/ready").json() == {"ready": True}
        assert oip_server.client.get("/v2/models/xception/ready").json() == {"name": "xception", "ready": True}


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

    def test_nested_pixels(self, oip_server: Server, pixels: Any, scores: Any) -> None:
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [2, 71, 71, 3], "data": pixels[:2].tolist()}
        answer = oip_server.client.post(INFER, json={"inputs": [tensor]})
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

    def test_a_raw_image(self, oip_server: Server, files: list[bytes]) -> None:
        answer = oip_server.client.post(INFER, content=files[8], headers={"Inference-Header-Content-Length": "0"})
        output = answer.json()["outputs"][0]
        assert output["shape"] == [1, 10]
        assert np.argmax(output["data"]) == 8

    def test_many_at_once(self, client: InferenceServerClient, files: list[bytes]) -> None:
        waiting = [client.async_infer("xception", [image_input([file])]) for file in files]
        results: list[InferResult] = [request.get_result() for request in waiting]
        assert [result.as_numpy("scores").argmax() for result in results] == list(range(10))

    async def test_asynchronous_client(self, oip_server: Server, files: list[bytes]) -> None:
        async with aio.InferenceServerClient(oip_server.url.removeprefix("http://")) as client:
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


class TestRefusals:
    def test_what_the_client_is_told(self, client: InferenceServerClient, files: list[bytes], pixels: Any) -> None:
        one = [image_input(files[:1])]
        assert refused(client, "xception", [image_input([*files[:2], b"no image"])]) == (
            "400",
            "inputs[0], element 2: the bytes are not an image of a known format (JPEG, PNG, GIF, BMP, WEBP)",
        )
        assert refused(client, "xception", [image_input([b""])])[1] == "inputs[0], element 0: the image is empty"
        assert refused(client, "xception", [pixel_input(pixels[:1, :70])]) == (
            "400",
            "inputs[0].shape: is [1, 70, 71, 3]; pixels takes [n, 71, 71, 3]",
        )
        assert refused(client, "xception", [image_input(files[:1] * 41)]) == (
            "400",
            "inputs[0].shape: has 41 images; the limit is 40",
        )
        assert refused(client, "xception", one, outputs=[InferRequestedOutput("logits")]) == (
            "400",
            "outputs[0].name: the model has no output 'logits'; it has scores",
        )
        assert refused(client, "xception", [*one, pixel_input(pixels[:1])])[1].startswith("inputs: has 2 entries")

    def test_deadlines(self, client: InferenceServerClient, files: list[bytes]) -> None:
        one = [image_input(files[:1])]
        assert refused(client, "xception", one, timeout=1) == ("504", "the deadline of 0 ms has passed")
        assert client.infer("xception", one, timeout=2**40, priority=2).as_numpy("scores").shape == (1, 10)
        assert refused(client, "xception", one, headers={"X-Request-Timeout-Ms": "x"})[0] == "400"

    def test_images_in_json_name_their_place(self, oip_server: Server, files: list[bytes]) -> None:
        data = [[b64encode(files[0]).decode()], [b64encode(b"no image").decode()]]
        tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [2, 1], "data": data}
        answer = oip_server.client.post(INFER, json={"inputs": [tensor]})
        assert answer.status_code == 400
        assert error_of(answer).startswith("inputs[0].data[1][0]: the bytes are not an image")

    @pytest.mark.parametrize(
        ("headers", "body", "status", "message"),
        [
            ({}, b"", 400, "the request is not JSON"),
            ({}, b'{"inputs": [{"shape": [NaN]}]}', 400, "the request is not JSON"),
            ({"Inference-Header-Content-Length": "3"}, b"{}", 400, "Inference-Header-Content-Length: 3 is more than"),
            ({"Inference-Header-Content-Length": "9" * 5000}, b"{}", 400, "Inference-Header-Content-Length: '9999"),
            ({"Inference-Header-Content-Length": "-1"}, b"{}", 400, "Inference-Header-Content-Length: '-1'"),
            ({"Inference-Header-Content-Length": "0"}, b"", 400, "the body: the image is empty"),
            ({"Content-Type": "image/png"}, b"{}", 415, "Content-Type: 'image/png' is not taken"),
            ({}, b" " * (4 * 2**20 + 1), 413, "the body has 4194305 bytes; the limit is 4194304"),
            ({"Content-Encoding": "br"}, b"{}", 415, "Content-Encoding: 'br' is not taken"),
            ({"Content-Encoding": "gzip, gzip"}, b"{}", 415, "Content-Encoding: 'gzip, gzip' is not taken"),
            ({"Content-Encoding": "gzip"}, b"{}", 400, "the body is not gzip"),
            ({"Content-Encoding": "gzip"}, b"", 400, "the body is not gzip: it ends too early"),
            ({"Content-Encoding": "gzip"}, gzip.compress(b"{}")[:-3], 400, "the body is not gzip: it ends too early"),
            ({"Content-Encoding": "gzip"}, gzip.compress(b"{}") + b"x", 400, "the body goes on behind the end of its"),
            ({"Content-Encoding": "deflate"}, zlib.compress(b"{}"), 400, "inputs: must be a list"),
            ({"Content-Encoding": "identity"}, b"{}", 400, "inputs: must be a list"),
        ],
    )
    def test_bodies(self, oip_server: Server, headers: dict[str, str], body: bytes, status: int, message: str) -> None:
        answer = oip_server.client.post(INFER, content=body, headers=headers)
        assert answer.status_code == status
        assert error_of(answer).startswith(message)

    def test_a_small_body_that_inflates_to_a_large_one(self, oip_server: Server) -> None:
        bomb = gzip.compress(bytes(2**26))
        assert len(bomb) < 2**17
        answer = oip_server.client.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 413
        assert error_of(answer) == "the body has more than 4194304 bytes when inflated, which is the limit"


def test_before_there_is_a_model(tmp_path: Path) -> None:
    server = Server(tmp_path, MODEL_STORE_URL=f"file://{tmp_path / 'empty'}").start()
    try:
        server.wait_for("/livez")
        with InferenceServerClient(server.url.removeprefix("http://")) as client:
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
    finally:
        server.kill()
