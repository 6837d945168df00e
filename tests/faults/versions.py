"""Stores of versions that tell themselves apart, and ways to ask the service that serves them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from model_store.catalog.labels import LabelTarget, set_label
from model_store.catalog.reference import resolve
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from model_store.trust.signing import Signer
from tests.conftest import run_module
from tests.server import Server

TOKEN = "a token for the tests"
MODEL = "/v1/models/xception"
AUTH = {"Authorization": f"Bearer {TOKEN}"}

Start = Callable[..., Server]
"""Starts a server with settings."""


class Store:
    """A store of versions that take digit d for the class d + number."""

    def __init__(self, folder: Path, packages: dict[str, Path]) -> None:
        self.folder = folder / "store"
        self.url = f"file://{self.folder}"
        self._packages = packages

    @property
    def settings(self) -> dict[str, str]:
        """Return those of a service that follows the labels of this store when it is told to."""
        return {
            "MODEL_STORE_URL": self.url,
            "ADMIN_TOKEN": TOKEN,
            "MODEL_POLL_S": "0",
            "ENGINE": "openvino",
        }

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
