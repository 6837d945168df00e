from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Demo, Server


@pytest.fixture(scope="session")
def eight(golden: list[Path]) -> bytes:
    """An ordinary `:predict` request."""
    return json.dumps({"instances": [{"b64": b64encode(golden[8].read_bytes()).decode()}]}).encode()


@pytest.fixture(scope="session")
def default_server(demo: Demo) -> Iterator[Server]:
    """A service with the default limits."""
    with demo() as running:
        yield running
