"""Golden scores; for the tests of `/v2` a service of several versions, and Triton's client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from benchmarks.lifecycle.versions import derive_version
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from tests.contract.calls import MODEL
from tests.server import START_TIMEOUT_S, Demo, Server

TOKEN = "the operator's token"


class V2Service:
    """A service of several versions. Its store is empty until `publish` is called."""

    def __init__(self, server: Server, package: Path, folder: Path) -> None:
        self.server = server
        self.published = False
        self._package = package
        self._folder = folder

    def publish(self) -> None:
        """Publish three versions and wait until each is loaded, or has failed to load."""
        remote = Remote.open(f"file://{self._folder / 'store'}", publishing=True)
        shifted = derive_version(self._package, self._folder / "shifted", 1)
        broken = derive_version(self._package, self._folder / "broken", 2, "engine")
        for package, label in ((self._package, "stable"), (shifted, "canary"), (broken, "next")):
            publish(package, remote, "xception", labels=(label,))
        self.published = True
        self.server.wait_for("/readyz")
        self.server.client.post(f"{MODEL}/reload", headers={"Authorization": f"Bearer {TOKEN}"})
        self.server.wait_for("/v2/models/xception/versions/canary/ready")
        until = time.monotonic() + START_TIMEOUT_S
        while "UNAVAILABLE" not in self.server.client.post("/v2/repository/index").text:
            assert time.monotonic() < until, self.server.log
            time.sleep(0.1)


@pytest.fixture(scope="package")
def v2_service(package: Path, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[V2Service]:
    """The service before anything is published."""
    folder = tmp_path_factory.mktemp("open-inference")
    server = demo(
        MODEL_STORE_URL=f"file://{folder / 'store'}",
        MODEL_POLL_S="0",
        LOAD_RETRY_MAX_S="1",
        ADMIN_TOKEN=TOKEN,
        MAX_REQUEST_MIB="4",
        MAX_IMAGE_MIB="2",
        MAX_INSTANCES="40",
    ).start()
    try:
        server.wait_for("/livez")
        until = time.monotonic() + START_TIMEOUT_S
        while server.client.post("/v2/repository/index").status_code != 200:  # Until the edge has reached the runner.
            assert time.monotonic() < until, server.log
            time.sleep(0.1)
        yield V2Service(server, package, folder)
    finally:
        server.kill()


@pytest.fixture(scope="package")
def v2_server(v2_service: V2Service) -> Server:
    """Version 1 is `stable`; 2 is `canary` and takes an n for an n + 1; 3 is `next` and cannot be loaded."""
    v2_service.publish()
    return v2_service.server


@pytest.fixture(scope="package")
def client(v2_server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(v2_server.url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="package")
def files(golden: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in golden]


@pytest.fixture(scope="session")
def pixels(package: Path) -> Any:
    """The pixels of the golden images, `uint8 [n, height, width, 3]`."""
    return np.load(package / "golden" / "pixels.npy")


@pytest.fixture(scope="session")
def scores(package: Path) -> Any:
    """What the model that was packaged gives the golden images, `[n, classes]`."""
    return np.load(package / "golden" / "scores.npy")
