from __future__ import annotations

import pytest

from tests.service.protocols.edge import Client


@pytest.fixture
def client() -> Client:
    return Client()
