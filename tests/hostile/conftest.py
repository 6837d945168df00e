from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def eight(golden: list[Path]) -> bytes:
    """An ordinary `:predict` request."""
    return json.dumps({"instances": [{"b64": b64encode(golden[8].read_bytes()).decode()}]}).encode()
