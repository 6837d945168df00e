"""What the model gave the golden images; for the tests of `/v2` a service of several versions, and Triton's client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from benchmarks.lifecycle.versions import derive_version
from model_store.publish import publish
from model_store.remote import Remote
from tests.server import START_TIMEOUT_S, Demo, Server


@pytest.fixture(scope="package")
def oip_server(package: Path, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 1 is `stable`; 2 is `canary` and takes an n for an n + 1; 3 is `next` and cannot be loaded."""
    folder = tmp_path_factory.mktemp("oip")
    remote = Remote.open(f"file://{folder / 'store'}", publishing=True)
    publish(package, remote, "xception", labels=("stable",))
    publish(derive_version(package, folder / "shifted", 1), remote, "xception", labels=("canary",))
    publish(derive_version(package, folder / "broken", 2, "engine"), remote, "xception", labels=("next",))
    with demo(
        MODEL_STORE_URL=f"file://{folder / 'store'}",
        MODEL_POLL_S="0",
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


@pytest.fixture(scope="package")
def client(oip_server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(oip_server.url.removeprefix("http://"), concurrency=4) as client:
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
