from __future__ import annotations

import logging
import os
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.catalog.reference import Resolved, resolve
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from tests.ceph import COMMANDS, PACKAGES, Ceph
from tests.debian import installed, require

from .keys import write_key
from .samples import write_version

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Store:
    """A fresh, empty store."""

    url: str
    scheme: str

    def open(self) -> Remote:
        return Remote.open(self.url, publishing=True)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A real S3 server. Where it is not installed, tests of it are skipped, but in CI it must be there."""
    require(COMMANDS, PACKAGES)
    with Ceph() as running:
        yield running


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_", "MODEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3

    for name, value in {**AWS, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    bucket = f"models-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team/models"


@pytest.fixture
def ceph_url(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh bucket on the real server, as its owner."""
    for name, value in ceph.owner.environment(ceph.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    bucket = ceph.make_bucket()
    yield f"s3://{bucket}/team/models"
    ceph.remove_bucket(bucket)


@pytest.fixture(params=["file", "ceph" if installed(COMMANDS) or os.environ.get("CI") else "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """On a laptop without radosgw an imitation of S3 stands in for it."""
    if request.param != "file":
        return Store(request.getfixturevalue(f"{request.param}_url"), "s3")
    return Store(f"file://{tmp_path / 'the store'}", "file")


@pytest.fixture
def file_store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path / 'the store'}", "file")


@pytest.fixture(scope="session")
def big_bytes() -> bytes:
    return random.Random(1).randbytes(20_000_001)


@pytest.fixture
def folder(tmp_path: Path, big_bytes: bytes) -> Path:
    """A version with one file large enough for a multipart upload."""
    return write_version(tmp_path / "version", {"saved_model.pb": big_bytes})


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_version(tmp_path / "small")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def published(store: Store, folder: Path) -> Resolved:
    publish(folder, store.open(), "xception", labels=["stable"])
    return resolve(store.open(), "xception")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks the internet meets a closed port."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key to sign with; its public half lies beside it."""
    return write_key(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    return write_key(tmp_path, "other", ec.generate_private_key(ec.SECP256R1()))
