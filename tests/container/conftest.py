"""The images, built once, and containers of them that are removed whatever happens.

Without podman these tests are skipped on a laptop; with CI set what is missing is installed, and it is an error if that
cannot be done.
"""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ceph import COMMANDS, PACKAGES, Ceph, User
from tests.conftest import run_module
from tests.debian import require

from .podman import SCRIPTS, Container, Podman, build, missing

READ = ["s3:GetObject", "s3:ListBucket"]
"""All that a service needs."""

SHORT_WARM_UP = {"WARMUP_BUDGET_S": "0.2"}
"""No test here depends on the batch size that is learned at the start."""


@pytest.fixture(scope="session")
def podman() -> Podman:
    """Podman, installed if this is CI."""
    if absent := missing():
        if not os.environ.get("CI"):
            pytest.skip(
                f"no {', '.join(absent)} here; as root, scripts/container_tools.sh test installs what is missing"
            )
        done = subprocess.run(
            [str(SCRIPTS / "container_tools.sh"), "test"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.fail(f"the images are not tested: podman cannot be installed\n{done.stdout}{done.stderr}")
    return Podman()


@pytest.fixture(scope="session")
def serving_image(podman: Podman) -> str:
    """The name of the image with OpenVINO alone."""
    return build("serving")


@pytest.fixture(scope="session")
def tensorflow_image(serving_image: str) -> str:
    """The name of the image with TensorFlow, too."""
    return build("serving-tensorflow")


@pytest.fixture(scope="session")
def loadtest_image(podman: Podman) -> str:
    """The name of the image with Locust."""
    return build("loadtest")


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A real S3 server. Where it is not installed, tests of it are skipped, but in CI it must be there."""
    require(COMMANDS, PACKAGES)
    with Ceph() as running:
        yield running


@pytest.fixture(scope="session")
def package(xception_package: Path) -> Path:
    """The demo model: images are tested with what they are for."""
    return xception_package


@pytest.fixture(scope="session")
def golden(xception_golden: list[Path]) -> list[Path]:
    return xception_golden


@pytest.fixture(scope="session")
def store_url(xception_store_url: str) -> str:
    return xception_store_url


@dataclass(frozen=True)
class Bucket:
    """A bucket with the demo model as version 1, labelled `stable`, and somebody who may only read it."""

    name: str
    ceph: Ceph
    reader: User

    @property
    def settings(self) -> dict[str, str]:
        """Return those of a service that reads this bucket."""
        reader = self.reader.environment(self.ceph.endpoint)
        return {"MODEL_STORE_URL": f"s3://{self.name}/models", **reader, **SHORT_WARM_UP}


@pytest.fixture(scope="session")
def bucket(ceph: Ceph, package: Path) -> Bucket:
    """A bucket that no test changes."""
    return make_bucket(ceph, package)


def make_bucket(ceph: Ceph, package: Path) -> Bucket:
    """Publish a package to a new bucket, and let a new user read it."""
    name = ceph.make_bucket()
    reader = ceph.add_user(f"reader-of-{name}")
    ceph.allow(name, reader.name, READ)
    url = f"s3://{name}/models"
    words = ("publish", str(package), "--store", url, "--model", "xception", "--label", "stable")
    run_module("model_store", *words, **ceph.owner.environment(ceph.endpoint))
    return Bucket(name, ceph, reader)


@pytest.fixture(scope="session")
def eight(golden: list[Path]) -> bytes:
    """A request that asks what the picture of an eight is."""
    return json.dumps({"instances": [{"b64": b64encode(golden[8].read_bytes()).decode()}]}).encode()


Start = Callable[..., Container]
"""Starts a container of an image with settings."""


@pytest.fixture
def started(podman: Podman) -> Iterator[Start]:
    """Start containers, each with a volume of its own unless one is named."""
    containers: list[Container] = []

    def start(image: str, **options: Any) -> Container:
        container = Container(podman, image, **options)
        containers.append(container)
        container.start()
        return container

    yield start
    for container in containers:
        container.remove()
