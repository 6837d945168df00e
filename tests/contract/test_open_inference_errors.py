"""What the Open Inference Protocol refuses over the real wire, and in which words."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64encode
from typing import Any

import pytest
from tritonclient.http import InferenceServerClient, InferRequestedOutput

from tests.contract.calls import error_of
from tests.contract.triton import INFER, image_input, pixel_input, refused
from tests.server import Server

PACKED = gzip.compress(b"{}", mtime=0)
"""The same bytes in every process: tests are named by them."""


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

    def test_images_in_json_name_their_place(self, v2_server: Server, files: list[bytes]) -> None:
        data = [[b64encode(files[0]).decode()], [b64encode(b"no image").decode()]]
        tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [2, 1], "data": data}
        answer = v2_server.client.post(INFER, json={"inputs": [tensor]})
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
            ({"Content-Encoding": "gzip"}, PACKED[:-3], 400, "the body is not gzip: it ends too early"),
            ({"Content-Encoding": "gzip"}, PACKED + b"x", 400, "bytes follow the gzip data of the body"),
            ({"Content-Encoding": "deflate"}, zlib.compress(b"{}"), 400, "inputs: must be a list"),
            ({"Content-Encoding": "identity"}, b"{}", 400, "inputs: must be a list"),
        ],
    )
    def test_bodies(self, v2_server: Server, headers: dict[str, str], body: bytes, status: int, message: str) -> None:
        answer = v2_server.client.post(INFER, content=body, headers=headers)
        assert answer.status_code == status
        assert error_of(answer).startswith(message)

    def test_a_small_body_that_inflates_to_a_large_one(self, v2_server: Server) -> None:
        bomb = gzip.compress(bytes(2**26), mtime=0)
        assert len(bomb) < 2**17
        answer = v2_server.client.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 413
        assert error_of(answer) == "the decompressed body is over the limit of 4194304 bytes"
