"""Fixtures with the images, built once, and with containers of them, which are always removed.

Without podman these tests are skipped. If CI is set, missing tools are installed, and a failure to do so is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from model_store.trust.manifest import MANIFEST_NAME, Manifest, ManifestFile, Variant
from tests.ceph import COMMANDS, PACKAGES, Ceph, User
from tests.conftest import publish_alone, run_module
from tests.debian import require
from tests.shared import made_once, shared_folder

from .podman import SCRIPTS, Container, Podman, build, build_bento, missing

READ = ["s3:GetObject", "s3:ListBucket"]
"""All permissions that a service needs."""

SHORT_WARM_UP = {"WARMUP_BUDGET_S": "0.2"}
"""No test here depends on the batch size that is learned at start-up."""


@pytest.fixture(scope="session")
def podman() -> Podman:
    """Podman, installed first if CI is set."""
    if absent := missing():
        if not os.environ.get("CI"):
            pytest.skip(f"{', '.join(absent)} not installed; run scripts/container_tools.sh test as root")
        done = subprocess.run(
            [str(SCRIPTS / "container_tools.sh"), "test"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.fail(f"the images cannot be tested: podman cannot be installed\n{done.stdout}{done.stderr}")
    return Podman()


BuildOnce = Callable[[str], str]
"""Builds the image of a target unless it exists, and returns its name."""


@pytest.fixture(scope="session")
def build_once(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Build an image unless another worker has built it; builds with common stages do not run at the same time."""
    shared = shared_folder(tmp_path_factory)

    def build_target(target: str) -> str:
        name_file = shared / f"image-{target}"
        # The image with TensorFlow begins with the stages of `serving`; Locust's has none of them.
        with FileLock(shared / ("loadtest.lock" if target == "loadtest" else "serving.lock")):
            if not name_file.exists():
                name_file.write_text(build_bento() if target == "bento" else build(target))
        return name_file.read_text()

    return build_target


@pytest.fixture(scope="session")
def serving_image(build_once: BuildOnce) -> str:
    """The name of the image with OpenVINO only."""
    return build_once("serving")


@pytest.fixture(scope="session")
def tensorflow_image(serving_image: str, build_once: BuildOnce) -> str:
    """The name of the image with OpenVINO and TensorFlow."""
    return build_once("serving-tensorflow")


@pytest.fixture(scope="session")
def loadtest_image(serving_image: str, build_once: BuildOnce) -> str:
    """The name of the image with Locust. `serving` is built first, because that also builds a missing base image."""
    return build_once("loadtest")


@pytest.fixture(scope="session")
def bento_image(serving_image: str, build_once: BuildOnce) -> str:
    """The name of the image of `bentoml containerize`; its packages come from the cached layers of `serving`."""
    return build_once("bento")


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A real S3 server. If it is not installed, its tests are skipped, unless CI is set."""
    require(COMMANDS, PACKAGES)
    with Ceph() as running:
        yield running


@pytest.fixture(scope="session")
def package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with those variants of the demo model that the manifests of deploy/ select."""
    return made_once(tmp_path_factory, "package-with-variants", lambda folder: add_variants(package, folder))


@pytest.fixture(scope="session")
def store_url(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with that package as version 1, labelled `stable`."""
    return publish_alone(package, tmp_path_factory, "store-with-variants")


def add_variants(package: Path, folder: Path) -> None:
    """Copy a package and add the variants `openvino/int8`, which is the same graph, and `tensorflow/fp32`, a stub.

    The stub can be pulled; no test loads it.
    """
    shutil.copytree(package, folder)
    manifest = Manifest.parse((folder / MANIFEST_NAME).read_bytes())
    (float32,) = manifest.variants
    added = [file.replace("fp32", "int8") for file in float32.files]
    for file, copy in zip(float32.files, added, strict=True):
        shutil.copyfile(folder / file, folder / copy)
    (folder / "saved_model.pb").write_bytes(b"a stub of a SavedModel")
    variants = (
        float32,
        float32.model_copy(update={"precision": "int8", "path": added[0], "files": tuple(added)}),
        Variant(engine="tensorflow", precision="fp32", path=".", files=("saved_model.pb",), accuracy=float32.accuracy),
    )
    files = [
        ManifestFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path in (*added, "saved_model.pb")
        for data in [(folder / path).read_bytes()]
    ]
    whole = manifest.model_copy(update={"variants": variants, "files": (*manifest.files, *files)})
    (folder / MANIFEST_NAME).write_bytes(whole.to_bytes())


@dataclass(frozen=True)
class Bucket:
    """A bucket with a model as version 1, labelled `stable`, and a user who may only read it."""

    name: str
    ceph: Ceph
    reader: User

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of a service that reads this bucket."""
        reader = self.reader.environment(self.ceph.endpoint)
        return {"MODEL_STORE_URL": f"s3://{self.name}/models", **reader, **SHORT_WARM_UP}


@pytest.fixture(scope="session")
def bucket(ceph: Ceph, package: Path) -> Bucket:
    """A bucket with the tiny model. Read-only for tests."""
    return make_bucket(ceph, package)


@pytest.fixture(scope="session")
def xception_bucket(ceph: Ceph, xception_package: Path) -> Bucket:
    """A bucket with the demo model, for tests of memory and of TensorFlow. Read-only for tests."""
    return make_bucket(ceph, xception_package)


def make_bucket(ceph: Ceph, package: Path) -> Bucket:
    """Publish a package to a new bucket that a new user may read."""
    name = ceph.make_bucket()
    reader = ceph.add_user(f"reader-of-{name}")
    ceph.allow(name, reader.name, READ)
    url = f"s3://{name}/models"
    words = ("publish", str(package), "--store", url, "--model", "xception", "--label", "stable")
    run_module("model_store", *words, **ceph.owner.environment(ceph.endpoint))
    return Bucket(name, ceph, reader)


@pytest.fixture(scope="session")
def eight(golden: list[Path]) -> bytes:
    """A request with the image of an eight."""
    return predict_body(golden[8])


def predict_body(image: Path) -> bytes:
    """Return the body of a `:predict` request."""
    return json.dumps({"instances": [{"b64": b64encode(image.read_bytes()).decode()}]}).encode()


Start = Callable[..., Container]
"""Starts a container of an image with settings."""


@pytest.fixture
def started(podman: Podman) -> Iterator[Start]:
    """Start containers, each with its own volume unless one is given."""
    containers: list[Container] = []

    def start(image: str, **options: Any) -> Container:
        container = Container(podman, image, **options)
        containers.append(container)
        container.start()
        return container

    yield start
    for container in containers:
        container.remove()
