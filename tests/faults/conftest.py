"""Services that are ended whatever happens, and stores of versions for them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.lifecycle.versions import derive_version
from service.settings import MIB
from tests.conftest import RecordProperty
from tests.server import Server
from tests.shared import made_once

from .faulty_service import FaultyService
from .padding import add_padding
from .table import PROPERTY, RecordFault
from .versions import Start, Store

PADDING_BYTES = 24 * MIB
"""A cut or a full disk in the middle of a pull needs a pull that takes some time."""


@pytest.fixture
def record_fault(record_property: RecordProperty) -> RecordFault:
    """Add what a test saw to the table that is printed at the end."""
    return lambda row: record_property(PROPERTY, row.cells())


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings, each in a folder of its own."""
    servers: list[Server] = []

    def start(**settings: str) -> Server:
        server = Server(tmp_path / f"server-{len(servers)}", **settings)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def faulty_session(store_url: str, eight: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyService]:
    """The service that `faulty` hands out."""
    service = FaultyService(tmp_path_factory.mktemp("faulty"), store_url, eight)
    yield service
    service.stop()


@pytest.fixture
def faulty(faulty_session: FaultyService) -> FaultyService:
    """A service whose engine can be broken. Each test leaves it sound, or ended: then it is started again."""
    faulty_session.ensure_running()
    return faulty_session


@pytest.fixture(scope="session")
def packages(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Versions by what is wrong with them, or else by how far they shift the classes."""

    def make(folder: Path) -> None:
        for shift in (1, 2, 3):
            derive_version(package, folder / str(shift), shift)
            add_padding(folder / str(shift), PADDING_BYTES, seed=shift)
        derive_version(package, folder / "other answers", 4, "golden")
        derive_version(package, folder / "unreadable", 5, "engine")
        derive_version(package, folder / "other bytes", 6)  # A test damages it in the store.

    return {path.name: path for path in made_once(tmp_path_factory, "packages", make).iterdir()}


@pytest.fixture
def store(tmp_path: Path, packages: dict[str, Path]) -> Store:
    return Store(tmp_path, packages)


@pytest.fixture
def serve(tmp_path: Path, store: Store, started: Start) -> Start:
    """Start services of the store, one after the other, that share a cache."""

    def start(**settings: str) -> Server:
        return started(**{**store.settings, "MODEL_CACHE_DIR": str(tmp_path / "cache"), **settings})

    return start


@pytest.fixture(scope="session")
def eight(golden: list[Path]) -> bytes:
    return json.dumps({"instances": [{"b64": b64encode(golden[8].read_bytes()).decode()}]}).encode()
