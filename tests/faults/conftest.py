"""Services that are ended whatever happens, and stores of versions for them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.measurements.versions import derive_version
from tests.conftest import RecordProperty
from tests.server import Server
from tests.shared import made_once
from tests.tiny_model import write_tiny_version

from .table import PROPERTY, RecordFault
from .versions import Start, Store

PULL_BYTES = 6 * 2**20
"""About what a version here takes to pull."""


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
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Versions by what is wrong with them, or else by how far they shift the classes; to pull one takes a moment."""

    def make(folder: Path) -> None:
        package = folder / "0"
        write_tiny_version(package, padding=PULL_BYTES)
        for shift in (1, 2, 3):
            derive_version(package, folder / str(shift), shift)
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
