"""Services that are ended whatever happens, and stores of versions for them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.measurements.versions import derive_version
from tests.server import Server

from .table import Row, format_table
from .versions import Start, Store

ROWS = pytest.StashKey[list[Row]]()

SHORT_WARM_UP = {"WARMUP_BUDGET_S": "0.2"}
"""No test here depends on the batch size that is learned at the start, and many services are started."""


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> list[Row]:
    """Return the rows of the table that is printed at the end; a test adds what it saw."""
    return request.config.stash.setdefault(ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    if rows := config.stash.get(ROWS, []):
        terminalreporter.section("faults")
        for line in format_table(rows):
            terminalreporter.line(line)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings, each in a folder of its own."""
    servers: list[Server] = []

    def start(**settings: str) -> Server:
        server = Server(tmp_path / f"server-{len(servers)}", **{**SHORT_WARM_UP, **settings})
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def packages(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {
        **{str(shift): derive_version(package, folder / str(shift), shift) for shift in (1, 2, 3)},
        "other answers": derive_version(package, folder / "golden", 4, "golden"),
        "unreadable": derive_version(package, folder / "engine", 5, "engine"),
        "other bytes": derive_version(package, folder / "bytes", 6),  # A test damages it in the store.
    }


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
