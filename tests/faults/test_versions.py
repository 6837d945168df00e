"""Versions come and go under load: labels, swaps, rollback, and versions that must not go live."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from loadtest.versions import derive_version
from model_store.labels import LabelTarget, set_label
from model_store.publish import publish
from model_store.reference import resolve
from model_store.remote import Remote
from model_store.signing import Signer
from tests.conftest import run_module
from tests.server import Server, free_port

TOKEN = "a token for the tests"
MODEL = "/v1/models/xception"
AUTH = {"Authorization": f"Bearer {TOKEN}"}

Start = Callable[..., Server]


class Store:
    """A store of versions that take digit d for the class d + number."""

    def __init__(self, folder: Path, packages: dict[str, Path]) -> None:
        self.folder = folder / "store"
        self.url = f"file://{self.folder}"
        self._packages = packages

    def publish(self, package: str, *labels: str, key: Path | None = None) -> int:
        signer = Signer.from_file(key) if key else None
        return publish(self._packages[package], self._remote(), "xception", labels=labels, signer=signer).version

    def label(self, label: str, version: int) -> None:
        resolved = resolve(self._remote(), "xception", version)
        set_label(self._remote(), "xception", label, LabelTarget(version=version, manifest=resolved.manifest_digest))

    def rollback(self, label: str) -> None:
        run_module("model_store", "rollback", "xception", label, "--store", self.url)

    def _remote(self) -> Remote:
        return Remote.open(self.url, publishing=True)


@pytest.fixture(scope="session")
def packages(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {
        **{str(shift): derive_version(package, folder / str(shift), shift) for shift in (1, 2, 3)},
        "other answers": derive_version(package, folder / "golden", 4, "golden"),
        "unreadable": derive_version(package, folder / "engine", 5, "engine"),
    }


@pytest.fixture
def store(tmp_path: Path, packages: dict[str, Path]) -> Store:
    return Store(tmp_path, packages)


@pytest.fixture
def started(tmp_path: Path, store: Store) -> Iterator[Start]:
    servers: list[Server] = []

    def start(cache: str = "cache", **settings: str) -> Server:
        server = Server(
            tmp_path / f"server-{len(servers)}",
            **{
                "MODEL_STORE_URL": store.url,
                "MODEL_CACHE_DIR": str(tmp_path / cache),
                "ADMIN_TOKEN": TOKEN,
                "MODEL_POLL_SECONDS": "0",
                "ENGINE": "openvino",
                **settings,
            },
        )
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def eight(golden: list[Path]) -> bytes:
    return json.dumps({"instances": [{"b64": b64encode(golden[8].read_bytes()).decode()}]}).encode()


def ask(server: Server, body: bytes, path: str = MODEL) -> tuple[int, int]:
    """Return the version that an answer names, and the one that its scores come from."""
    answer = server.client.post(f"{path}:predict", content=body)
    assert answer.status_code == 200, answer.text
    return named_and_real(answer)


def named_and_real(answer: httpx.Response) -> tuple[int, int]:
    scores = answer.json()["predictions"][0]
    return int(answer.headers["x-model-version"]), (max(range(10), key=scores.__getitem__) - 8) % 10


def reload(server: Server) -> httpx.Response:
    return server.client.post(f"{MODEL}/reload", headers=AUTH)


def states(server: Server) -> dict[int, tuple[str, str]]:
    statuses = server.client.get(MODEL).json()["model_version_status"]
    return {int(one["version"]): (one["state"], one["status"]["error_code"]) for one in statuses}


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.05)
    return time.monotonic() - started


class Load:
    """Clients that ask without a pause, and keep every answer."""

    def __init__(self, server: Server, body: bytes, clients: int = 4) -> None:
        self.answers: Counter[tuple[int, int]] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(server.url, body)) for _ in range(clients)]

    def _ask(self, url: str, body: bytes) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not self._stop.is_set():
                answer = client.post(f"{MODEL}:predict", content=body)
                if answer.status_code == 200:
                    self.answers[named_and_real(answer)] += 1
                else:
                    self.failures.append(answer.text)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_every_labelled_version_answers_by_version_and_by_label(store: Store, started: Start, eight: bytes) -> None:
    assert (store.publish("1", "stable"), store.publish("2", "canary")) == (1, 2)
    server = started()
    server.wait_for("/readyz")
    wait_until(lambda: states(server).get(2) == ("AVAILABLE", "OK"))
    assert ask(server, eight) == (1, 1)  # The default is the version of MODEL_VERSION, not the highest.
    assert ask(server, eight, f"{MODEL}/versions/2") == (2, 2)
    assert ask(server, eight, f"{MODEL}/labels/canary") == (2, 2)
    assert ask(server, eight, f"{MODEL}/labels/stable") == (1, 1)
    assert server.client.post(f"{MODEL}/versions/3:predict", content=eight).status_code == 404
    classified = server.client.post("/classify?label=canary", content=json.loads(eight)["instances"][0]["b64"])
    assert classified.status_code == 400  # base64 is no image; but the label was found
    metrics = server.client.get("/metrics").text
    assert re.search(r'xception_model_label_version\{label="canary",model="xception"\} 2.0', metrics)
    assert server.client.get("/debug/batching").status_code == 401
    batching = server.client.get("/debug/batching", headers=AUTH).json()
    assert sorted(version["version"] for version in batching["versions"]) == [1, 2]
    for version in batching["versions"]:
        assert str(version["batch_size"]) in version["images_per_second"]
        assert version["lone_image_seconds"] > 0
    assert server.stop() == 0


def test_swap_and_rollback_under_load(store: Store, started: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    store.publish("2")
    server = started()
    server.wait_for("/readyz")
    with Load(server, eight) as load:
        wait_until(lambda: load.answers[1, 1] > 20)
        memory = server.runner().memory_full_info().pss
        for target in (2, 1, 2):
            store.label("stable", target)
            assert reload(server).status_code == 200
            assert ask(server, eight) == (target, target)
            seen = load.answers[target, target]
            wait_until(lambda seen=seen, target=target: load.answers[target, target] > seen + 20)  # type: ignore[misc]
        wait_until(lambda: states(server)[1] == ("END", "OK"))
        store.rollback("stable")
        before = time.monotonic()
        assert reload(server).status_code == 200
        assert ask(server, eight) == (1, 1)
        assert time.monotonic() - before < 10
        wait_until(lambda: states(server)[2] == ("END", "OK"))
        assert server.runner().memory_full_info().pss < 1.2 * memory  # Another version would be 1.6 times it.
    assert load.failures == []
    assert set(load.answers) == {(1, 1), (2, 2)}  # Each answer is of the version that it names.
    assert "label 'stable' leads to version 2 (before: 1)" in server.log
    assert server.stop() == 0


def test_a_moved_label_is_noticed_without_being_told(store: Store, started: Start, eight: bytes) -> None:
    """The store is any web server that gives out files; it is away for a while, too."""
    store.publish("1", "stable")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(store.folder)]
    web = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = started(MODEL_STORE_URL=f"http://127.0.0.1:{port}", MODEL_POLL_SECONDS="0.5", LOAD_RETRY_MAX_S="1")
        server.wait_for("/readyz")
        store.publish("2", "stable")
        wait_until(lambda: ask(server, eight) == (2, 2))
    finally:
        web.kill()
        web.wait()
    failed = 'xception_store_requests_total{model="xception",result="failed"}'
    wait_until(lambda: failed in server.client.get("/metrics").text)
    assert "what to serve cannot be read from the store" in server.log
    assert ask(server, eight) == (2, 2)
    assert server.client.get("/readyz").status_code == 200
    store.label("stable", 1)
    web = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: ask(server, eight) == (1, 1))
        assert server.stop() == 0
    finally:
        web.kill()
        web.wait()


@pytest.mark.parametrize(
    ("flaw", "code", "reason"),
    [
        ("other answers", "FAILED_PRECONDITION", "golden"),
        ("unreadable", "INTERNAL", ""),
        ("other bytes", "DATA_LOSS", "expected sha256"),
    ],
)
def test_a_bad_version_never_serves(
    store: Store, started: Start, eight: bytes, flaw: str, code: str, reason: str
) -> None:
    store.publish("1", "stable")
    server = started()
    server.wait_for("/readyz")
    if flaw == "other bytes":
        store.publish("2", "stable")
        weights = store.folder / "xception" / "2" / "openvino" / "fp32.bin"
        data = bytearray(weights.read_bytes())
        data[1000] ^= 1
        weights.write_bytes(data)
    else:
        store.publish(flaw, "stable")
    with Load(server, eight, clients=2) as load:
        answer = reload(server)
    assert answer.status_code == 409
    assert "version 2 (label 'stable') cannot be served" in answer.json()["error"]
    assert reason in answer.json()["error"]
    assert load.failures == []
    assert set(load.answers) == {(1, 1)}
    assert states(server) == {1: ("AVAILABLE", "OK"), 2: ("END", code)}
    status = server.client.get(f"{MODEL}/versions/2").json()["model_version_status"][0]
    assert reason in status["status"]["error_message"]
    assert server.client.post(f"{MODEL}/versions/2:predict", content=eight).status_code == 404
    assert (
        f'xception_model_failures_total{{error_code="{code}",model="xception"}} 1.0'
        in server.client.get("/metrics").text
    )
    assert "version 2 (label 'stable') cannot be served" in server.log
    store.publish("3", "stable")
    assert reload(server).status_code == 200
    assert ask(server, eight) == (3, 3)
    assert server.stop() == 0


def test_a_restart_onto_a_bad_version_falls_back(store: Store, started: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    server = started()
    server.wait_for("/readyz")
    assert server.stop() == 0
    store.publish("other answers", "stable")
    server = started()
    server.wait_for("/readyz")
    assert ask(server, eight) == (1, 1)
    assert states(server)[2] == ("END", "FAILED_PRECONDITION")
    assert "version 1, which served here last, serves on" in server.log
    assert server.stop() == 0


def test_a_restart_after_a_load_that_killed_the_runner_falls_back(
    store: Store, started: Start, tmp_path: Path, eight: bytes
) -> None:
    store.publish("1", "stable")
    server = started()
    server.wait_for("/readyz")
    assert server.stop() == 0
    store.publish("2", "stable")
    digest = resolve(Remote.open(store.url), "xception", 2).manifest_digest
    mark = tmp_path / "cache" / ".loading" / digest.replace(":", "-")
    mark.parent.mkdir(exist_ok=True)
    mark.write_text("2")  # As two runners left it that were killed for their memory while they loaded version 2.
    server = started()
    server.wait_for("/readyz")
    assert ask(server, eight) == (1, 1)
    assert states(server)[2] == ("END", "RESOURCE_EXHAUSTED")
    assert "died 2 times" in server.log
    assert reload(server).status_code == 200
    assert ask(server, eight) == (2, 2)
    assert server.stop() == 0


def test_no_more_versions_than_may(store: Store, started: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    store.publish("2", "canary")
    server = started(MAX_VERSIONS="1")
    server.wait_for("/readyz")
    wait_until(lambda: states(server).get(2) == ("END", "RESOURCE_EXHAUSTED"))
    assert ask(server, eight) == (1, 1)
    assert server.client.post(f"{MODEL}/labels/canary:predict", content=eight).status_code != 200
    assert "MAX_VERSIONS=1" in reload(server).json()["error"]
    assert server.stop() == 0


def test_a_pinned_digest_stays_whatever_the_labels_do(store: Store, started: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    digest = resolve(Remote.open(store.url), "xception", 1).manifest_digest
    server = started(MODEL_VERSION=digest)
    server.wait_for("/readyz")
    store.publish("2", "stable")
    assert reload(server).status_code == 200
    assert ask(server, eight) == (1, 1)
    assert ask(server, eight, f"{MODEL}/labels/stable") == (2, 2)
    assert server.stop() == 0


def test_only_what_the_right_key_signed_is_served(store: Store, started: Start, tmp_path: Path, eight: bytes) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for name, private in zip(("ours", "theirs"), keys, strict=True):
        private_format = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(private.private_bytes(*private_format))
        public_format = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(private.public_key().public_bytes(*public_format))
    store.publish("1", "stable", key=tmp_path / "ours.pem")
    server = started(MODEL_PUBLIC_KEY=str(tmp_path / "ours.pub"))
    server.wait_for("/readyz")
    assert ask(server, eight) == (1, 1)
    for key, reason in ((None, "is not signed"), (tmp_path / "theirs.pem", "signed with another key")):
        version = store.publish("2", "stable", key=key)
        answer = reload(server)
        assert answer.status_code == 409
        assert reason in answer.json()["error"]
        assert states(server)[version] == ("END", "DATA_LOSS")
        assert ask(server, eight) == (1, 1)
    store.publish("3", "stable", key=tmp_path / "ours.pem")
    assert reload(server).status_code == 200
    assert ask(server, eight) == (4, 3)
    assert server.stop() == 0


def test_reload_is_for_who_holds_the_token(store: Store, started: Start) -> None:
    store.publish("1", "stable")
    server = started()
    server.wait_for("/readyz")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = server.client.post(f"{MODEL}/reload", headers=headers)
        assert answer.status_code == 401
        assert TOKEN not in answer.text
    assert server.client.post("/v1/models/other/reload", headers=AUTH).status_code == 404
    assert server.client.get(f"{MODEL}/reload", headers=AUTH).status_code == 405
    assert reload(server).json()["model_version_status"][0]["state"] == "AVAILABLE"
    store.publish("2", "stable")
    late = server.client.post(f"{MODEL}/reload", headers={**AUTH, "X-Request-Timeout-Ms": "1"})
    assert late.status_code == 504
    wait_until(lambda: states(server).get(2) == ("AVAILABLE", "OK"))  # It goes on all the same.
    assert TOKEN not in server.log
    assert server.stop() == 0
