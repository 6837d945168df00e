"""The API over the real wire: bodies, headers and statuses."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
from pathlib import Path

import pytest
from PIL import Image

from tests.contract.calls import PREDICT, b64, error_of, post
from tests.server import Server


@pytest.fixture
def eight(golden: list[Path]) -> bytes:
    return golden[8].read_bytes()


class TestClassify:
    def test_multipart(self, server: Server, eight: bytes) -> None:
        answer = server.client.post("/classify", files={"image": ("eight.png", eight, "image/png")})
        assert answer.status_code == 200
        document = answer.json()
        assert (document["model"], document["version"]) == ("xception", 1)
        assert document["predictions"][0]["name"] == "8"
        assert document["predictions"][0]["index"] == 8
        scores = [entry["score"] for entry in document["predictions"]]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)

    @pytest.mark.parametrize(
        "content_type", ["image/png", "application/octet-stream", None, "application/x-www-form-urlencoded"]
    )
    def test_raw_body(self, server: Server, eight: bytes, content_type: str | None) -> None:
        answer = post(server, "/classify?top_k=1", eight, content_type)
        assert [entry["name"] for entry in answer.json()["predictions"]] == ["8"]

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
    def test_every_format(self, server: Server, eight: bytes, kind: str) -> None:
        out = io.BytesIO()
        Image.open(io.BytesIO(eight)).convert("L").resize((64, 64)).save(out, kind)
        assert post(server, "/classify", out.getvalue(), "image/x").json()["predictions"][0]["name"] == "8"

    @pytest.mark.parametrize("top_k", ["0", "11", "x", "-1", "1.5"])
    def test_top_k_names_its_range(self, server: Server, eight: bytes, top_k: str) -> None:
        answer = post(server, f"/classify?top_k={top_k}", eight, "image/png")
        assert answer.status_code == 400
        assert error_of(answer) == f"top_k: '{top_k}' is not a whole number from 1 to 10"

    def test_form_without_the_image(self, server: Server, eight: bytes) -> None:
        answer = server.client.post("/classify", files={"picture": eight})
        assert answer.status_code == 400
        assert "one file named 'image'; it has 0 (fields: picture)" in error_of(answer)
        answer = server.client.post("/classify", data={"image": "text"}, files={"other": eight})
        assert answer.status_code == 400
        assert "is a text and not a file" in error_of(answer)
        answer = post(server, "/classify", b"nonsense", "multipart/form-data; boundary=x")
        assert answer.status_code == 400
        answer = post(server, "/classify", b"nonsense", "multipart/form-data")
        assert answer.status_code == 400

    def test_empty_body_and_wrong_type(self, server: Server) -> None:
        assert "empty" in error_of(post(server, "/classify", b"", "image/png"))
        answer = post(server, "/classify", b"{}", "application/json")
        assert answer.status_code == 415
        assert "application/json" in error_of(answer)


class TestLimits:
    def test_body(self, server: Server) -> None:
        answer = post(server, "/classify", b"x" * (4 * 2**20 + 1), "image/png")
        assert answer.status_code == 413
        assert "the limit is 4194304" in error_of(answer)

    def test_body_of_unknown_length(self, server: Server) -> None:
        answer = server.client.post("/classify", content=(b"x" * 2**20 for _ in range(5)))
        assert answer.status_code == 413
        assert "4194304" in error_of(answer)

    def test_image_bytes_and_pixels(self, server: Server) -> None:
        answer = post(server, "/classify", b"x" * (3 * 2**20), "image/png")
        assert answer.status_code == 400
        assert "3145728 bytes; the limit is 2097152" in error_of(answer)
        out = io.BytesIO()
        Image.new("L", (2000, 1001)).save(out, "PNG")
        answer = post(server, "/classify", out.getvalue(), "image/png")
        assert answer.status_code == 400
        assert "2000 × 1001 pixels; the limit is 2000000" in error_of(answer)

    @pytest.mark.parametrize("value", ["0", "x", "30001", "-5", "1e3"])
    def test_timeout_header(self, server: Server, eight: bytes, value: str) -> None:
        answer = post(server, "/classify", eight, "image/png", **{"X-Request-Timeout-Ms": value})
        assert answer.status_code == 400
        assert error_of(answer) == f"X-Request-Timeout-Ms: '{value}' is not a whole number from 1 to 30000"

    def test_deadline(self, server: Server, eight: bytes) -> None:
        answer = post(server, PREDICT, json.dumps({"instances": [b64(eight)] * 400}), **{"X-Request-Timeout-Ms": "5"})
        assert answer.status_code == 504
        assert "5 ms" in error_of(answer) or "are left" in error_of(answer)

    def test_priority_header(self, server: Server, eight: bytes) -> None:
        assert post(server, "/classify", eight, "image/png", **{"X-Request-Priority": "bulk"}).status_code == 200
        answer = post(server, "/classify", eight, "image/png", **{"X-Request-Priority": "urgent"})
        assert error_of(answer) == "X-Request-Priority: 'urgent' is neither 'interactive' nor 'bulk'"


class TestRoutes:
    def test_probes(self, server: Server) -> None:
        assert server.client.get("/livez").status_code == 200
        assert server.client.get("/readyz").status_code == 200

    def test_unknown_path_and_wrong_method(self, server: Server) -> None:
        answer = server.client.get("/nothing")
        assert answer.status_code == 404
        assert error_of(answer) == "no such path: /nothing"
        answer = server.client.get("/classify")
        assert answer.status_code == 405
        assert error_of(answer) == "/classify does not take GET"
        assert answer.headers["allow"] == "POST"

    @pytest.mark.parametrize("path", ["/livez/", "/metrics/", "/classify/", "/v1/models/xception/", "/docs.json/"])
    def test_there_are_no_redirects(self, server: Server, path: str) -> None:
        """A redirect would lead to the host that the client names."""
        answer = server.client.get(path, headers={"Host": "elsewhere.example"})
        assert answer.status_code in (400, 404)
        assert "location" not in answer.headers

    def test_a_path_is_quoted_in_part(self, server: Server) -> None:
        answer = server.client.get(f"/{'a' * 20_000}")
        assert (answer.status_code, len(error_of(answer))) == (404, len("no such path: ") + 501)
        assert "a" * 501 not in server.log

    def test_metrics_of_edge_and_runner(self, server: Server, eight: bytes) -> None:
        for _ in range(3):
            post(server, "/classify", eight, "image/png")
        server.client.get("/some-unknown-path")
        text = server.client.get("/metrics").text
        assert 'xception_requests_total{route="classify",status="200"}' in text
        assert "xception_batch_size_bucket" in text
        assert 'xception_model_state{model="xception",state="available",version="1"} 1.0' in text
        for profile in ("batch_limit", "batch_cost_image_seconds", "lone_image_cost_seconds", "engine_streams"):
            found = re.search(rf'xception_{profile}\{{model="xception",version="1"\}} (.+)', text)
            assert found, profile
            assert float(found[1]) > 0, profile
        for now in ("queue_images", "queue_bytes", "queue_backlog_seconds", "engine_batches"):
            assert re.search(rf"^xception_{now} [0-9.e-]+$", text, re.MULTILINE), now
        assert "some-unknown-path" not in text  # A scanner must not make series.


class TestHeaders:
    def test_timings_version_and_batch(self, server: Server, eight: bytes) -> None:
        headers = post(server, "/classify", eight, "image/png").headers
        steps = [step.split(";")[0] for step in headers["server-timing"].split(", ")]
        assert steps == ["decode", "queue", "infer"]
        assert headers["x-model-version"] == "1"
        assert headers["x-batch-size"] == "1"

    def test_request_id_on_every_answer(self, server: Server, eight: bytes) -> None:
        answer = post(server, "/classify", eight, "image/png", **{"X-Request-Id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        for path in ("/classify", "/nothing", "/livez", "/v1/models/xception", "/"):
            assert len(server.client.get(path).headers["x-request-id"]) == 32
        evil = post(server, "/classify", eight, "image/png", **{"X-Request-Id": "x" * 200})
        assert len(evil.headers["x-request-id"]) == 32


def test_a_client_that_disconnects_does_no_harm(server: Server, eight: bytes) -> None:
    """Cut connections off, in the middle of the body and while waiting, and ask again."""
    body = json.dumps({"instances": [b64(eight)] * 300}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for sent in (body[:1000], body):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(head + sent)
    assert post(server, "/classify", eight, "image/png").status_code == 200
    assert "Traceback" not in server.log
