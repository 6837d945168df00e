"""A service that is watched, for the tests of alerts and dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import require
from tests.prometheus import COMMANDS, PACKAGES

from .monitored import Monitored, monitor


@pytest.fixture(scope="session")
def promtool() -> str:
    """The name of the tool; skipped where it is not installed, but in CI it must be there."""
    require(COMMANDS, PACKAGES)
    return "promtool"


@pytest.fixture(scope="session")
def monitored(
    promtool: str, slow_package: Path, golden: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    """One for all tests here: each leaves the service as sound as it was."""
    with monitor(tmp_path_factory.mktemp("monitored"), slow_package, golden[8].read_bytes()) as running:
        yield running
