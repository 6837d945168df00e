"""Fixtures for the tests of alerts and dashboard: promtool, and a service that a Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import require
from tests.prometheus import COMMANDS, PACKAGES

from .monitored import Monitored, monitor


@pytest.fixture(scope="session")
def promtool() -> str:
    """The command promtool. If it is not installed, the test is skipped, unless CI is set."""
    require(COMMANDS, PACKAGES)
    return "promtool"


@pytest.fixture(scope="session")
def monitored(
    promtool: str, slow_package: Path, golden: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    """A monitored service, shared by all tests here; each leaves it healthy."""
    with monitor(tmp_path_factory.mktemp("monitored"), slow_package, golden[8].read_bytes()) as running:
        yield running
