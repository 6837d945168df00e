"""Batchers that run while a test does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.batching.batcher import Batcher

from .synthetic_engine import Observed


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def batcher(observed: Observed) -> AsyncIterator[Batcher]:
    made = Batcher(observed, max_images=32, max_bytes=32 * 12)
    made.start()
    yield made
    await made.stop()
