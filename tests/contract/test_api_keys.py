"""API keys over the wire: access, quotas, and that keys are never shown."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import run_module
from tests.contract.calls import MODEL, PREDICT, b64, error_of
from tests.server import Demo, Server

TOKEN = "the operator's token"
INFER = "/v2/models/xception/infer"
FLOOD = 100
"""Images of one request: nearly a second of work on fast cores, and on slow and busy ones not too many for 30 s."""


class Guarded:
    """A service that asks for keys, and the keys that it takes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self.keys = {
            "shop": self.add("shop"),
            "small": self.add("small", "--rate", "1"),
            "crawler": self.add("crawler", "--priority", "bulk"),
        }
        self.server: Server

    def add(self, name: str, *options: str) -> str:
        return run_module("service.auth.__main__", "add", name, "--file", str(self.file), *options).stdout.strip()

    def remove(self, name: str) -> None:
        run_module("service.auth.__main__", "remove", name, "--file", str(self.file))

    def call(self, name: str, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request with the key of `name`."""
        headers = {"Authorization": f"Bearer {self.keys[name]}", **arguments.pop("headers", {})}
        return self.server.client.request(method, path, headers=headers, **arguments)

    def wait_for_status(self, name: str, status: int) -> None:
        """Wait until the key of `name` gets this status."""
        wait_until(lambda: self.call(name, "GET", MODEL).status_code == status)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture(scope="module")
def guarded(demo: Demo, slow_store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    guarded = Guarded(folder)
    with demo(
        MODEL_STORE_URL=slow_store_url,
        API_KEYS_FILE=str(guarded.file),
        ADMIN_TOKEN=TOKEN,
        ACCESS_LOG="true",
        MAX_INSTANCES=str(FLOOD),
        QUEUE_MAX_IMAGES=str(2 * FLOOD),
    ) as server:
        guarded.server = server
        yield guarded


@pytest.fixture
def eight(golden: list[Path]) -> dict[str, str]:
    return b64(golden[8].read_bytes())


CLOSED = [
    ("POST", PREDICT),
    ("POST", f"{MODEL}/versions/1:predict"),
    ("POST", f"{MODEL}/labels/stable:predict"),
    ("POST", f"{MODEL}:classify"),
    ("POST", f"{MODEL}:regress"),
    ("GET", MODEL),
    ("HEAD", MODEL),
    ("GET", f"{MODEL}/versions/1"),
    ("GET", f"{MODEL}/metadata"),
    ("GET", "/v1/models/other"),
    ("GET", "/v1/nothing"),
    ("POST", "/classify"),
    ("GET", "/v2"),
    ("GET", "/v2/models/xception"),
    ("GET", "/v2/models/xception/ready"),
    ("POST", INFER),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/xception/load"),
]

OPEN = [
    "/livez",
    "/readyz",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/docs.json",
    "/",
    "/static_content/swagger-ui.css",
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nothing_without_a_key(guarded: Guarded, method: str, path: str) -> None:
    key = guarded.keys["shop"]
    for authorization in (None, "Bearer wrong", f"Bearer {key[:-1]}", f"Bearer {key}x", f"Basic {key}", key, "Bearer"):
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = guarded.server.client.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert len(answer.headers["x-request-id"]) == 32
        if method != "HEAD":
            assert error_of(answer) == "send a valid API key as 'Authorization: Bearer …'"


@pytest.mark.parametrize("path", OPEN)
def test_probes_metrics_and_description_need_none(guarded: Guarded, path: str) -> None:
    assert guarded.server.client.get(path).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//v1/models/xception",
        "/v1//models/xception",
        "/./v1/models/xception",
        "/livez/../v1/models/xception",
        "/%76%31/models/xception",
        "/v1%2Fmodels%2Fxception",
        "/V1/models/xception",
        "http://localhost/v1/models/xception",
        "/v1/models/xception?/v2/health/live",
        "/v1/models/xception#/v2/health/live",
        "/v2/health/live/../../models/xception",
    ],
)
def test_no_spelling_of_a_path_bypasses_the_key(guarded: Guarded, target: str) -> None:
    with socket.create_connection(("127.0.0.1", guarded.server.port), timeout=20) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert int(answer.split()[1]) in (400, 401, 404)
    assert b"AVAILABLE" not in answer


def test_with_a_key_all_of_it(guarded: Guarded, golden: list[Path], eight: dict[str, str]) -> None:
    for path in (MODEL, f"{MODEL}/metadata", "/v2", "/v2/models/xception", "/v2/models/xception/ready"):
        assert guarded.call("shop", "GET", path).status_code == 200
    assert guarded.call("shop", "POST", PREDICT, json={"instances": [eight]}).status_code == 200
    classified = guarded.call("shop", "POST", "/classify", content=golden[8].read_bytes())
    assert classified.json()["predictions"][0]["name"] == "8"
    lower = guarded.server.client.get(MODEL, headers={"Authorization": f"bearer {guarded.keys['shop']}"})
    assert lower.status_code == 200
    assert guarded.call("shop", "POST", "/v1/models/other:predict", json={"instances": [eight]}).status_code == 404


def test_more_than_its_rate_is_refused_to_a_key_alone(guarded: Guarded, eight: dict[str, str]) -> None:
    body = {"instances": [eight] * 30}
    assert guarded.call("small", "POST", PREDICT, json=body).status_code == 200
    refused = guarded.call("small", "POST", PREDICT, json=body)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert error_of(refused) == "small is over its rate of 1 images per second"
    assert guarded.call("shop", "POST", PREDICT, json=body).status_code == 200
    assert guarded.call("small", "GET", MODEL).status_code == 200  # Status costs nothing.
    text = guarded.server.client.get("/metrics").text
    assert 'xception_failed_requests_total{reason="rate"}' in text
    assert 'xception_client_images_total{client="small"} 30.0' in text


def as_rows(images: list[dict[str, str]]) -> tuple[str, dict[str, Any]]:
    return PREDICT, {"content": orjson.dumps({"instances": images}), "headers": {"X-Request-Priority": "interactive"}}


def as_tensor(images: list[dict[str, str]]) -> tuple[str, dict[str, Any]]:
    data = [image["b64"] for image in images]
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return INFER, {"content": orjson.dumps({"inputs": [tensor], "parameters": {"priority": 1}})}


@pytest.mark.parametrize("form", [as_rows, as_tensor])
def test_a_bulk_key_is_never_interactive(
    guarded: Guarded, eight: dict[str, str], form: Callable[[list[dict[str, str]]], tuple[str, dict[str, Any]]]
) -> None:
    """An interactive image overtakes a flood that says it is interactive, too; behind it, it would be answered last."""
    path, arguments = form([eight] * FLOOD)
    admin = {"Authorization": f"Bearer {TOKEN}"}

    def waiting() -> int:
        state = guarded.server.client.get("/debug/batching", headers=admin).json()
        return int(state["queue_images"])

    with ThreadPoolExecutor(1) as clients:
        flood = clients.submit(guarded.call, "crawler", "POST", path, **arguments)
        wait_until(lambda: waiting() > FLOOD // 2)
        overtaking = guarded.call("shop", "POST", PREDICT, json={"instances": [eight]})
        assert overtaking.status_code == 200
        assert not flood.done()
        assert flood.result().status_code == 200


def test_keys_come_and_go_without_a_restart(guarded: Guarded, eight: dict[str, str]) -> None:
    edge = guarded.server.edge().pid
    guarded.keys["guest"] = guarded.add("guest")
    guarded.wait_for_status("guest", 200)
    assert guarded.call("guest", "POST", PREDICT, json={"instances": [eight]}).status_code == 200
    guarded.remove("guest")
    guarded.wait_for_status("guest", 401)
    assert guarded.call("shop", "GET", MODEL).status_code == 200
    assert guarded.server.edge().pid == edge


def test_a_file_that_was_spoiled_changes_nothing(guarded: Guarded) -> None:
    sound = guarded.file.read_bytes()
    try:
        guarded.file.write_text('{"keys": [')
        wait_until(lambda: is_heard(guarded) and "The API keys are unchanged" in guarded.server.log)
        assert guarded.call("shop", "GET", MODEL).status_code == 200
        guarded.file.unlink()
        wait_until(lambda: is_heard(guarded) and "No such file or directory" in guarded.server.log)
        assert guarded.call("shop", "GET", MODEL).status_code == 200
    finally:
        guarded.file.write_bytes(sound)


def is_heard(guarded: Guarded) -> bool:
    """Ask with a key, whereupon the file is looked at."""
    return guarded.call("shop", "GET", MODEL).status_code == 200


def test_reload_is_for_the_token_and_not_for_a_key(guarded: Guarded) -> None:
    assert guarded.call("shop", "POST", f"{MODEL}/reload").status_code == 401
    assert guarded.call("shop", "GET", "/debug/batching").status_code == 401
    with_token = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.server.client.post(f"{MODEL}/reload", headers=with_token).status_code == 200
    assert guarded.server.client.get(MODEL, headers=with_token).status_code == 401


def test_no_key_is_seen_anywhere(guarded: Guarded, eight: dict[str, str]) -> None:
    key = guarded.keys["shop"]
    texts = [
        guarded.call("shop", "POST", PREDICT, json={}).text,
        guarded.call("shop", "GET", "/v1/nothing").text,
        guarded.call("shop", "POST", "/classify", content=b"", headers={"X-Request-Priority": "none"}).text,
        guarded.server.client.get(MODEL, headers={"Authorization": f"Basic {key}"}).text,
        guarded.server.client.get("/metrics").text,
        guarded.server.client.get("/docs.json").text,
        guarded.server.log,
    ]
    assert "client=shop" in guarded.server.log
    for secret in (*guarded.keys.values(), TOKEN):
        assert not [text for text in texts if secret in text]


def test_a_bad_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    """Which files are bad is tested in tests/service/auth/test_api_keys.py."""
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"name": "shop", "key": "in the clear"}]}')
    server = Server(tmp_path / "server", API_KEYS_FILE=str(file)).start()
    assert server.process is not None
    assert server.process.wait(60) != 0
    assert server.log.splitlines()[-1] == f"Settings: API_KEYS_FILE: {file}: keys.0.sha256: Field required"
    assert server.log.count("Settings") == 1
    assert "Traceback" not in server.log
    assert "in the clear" not in server.log
