"""Life cycles that run while a test does, with an engine of their own in the registry."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from engines.registry import ENGINES, EngineEntry
from service.lifecycle import reconciler

from . import shifting_engine
from .service import Service, Store

Serve = Callable[..., Awaitable[Service]]
"""Starts a service with settings, which follows the store unless it is given another URL."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "shifting", EngineEntry(shifting_engine.__name__, "numpy", ("fp32",)))


@pytest.fixture
def store(tmp_path: Path, engine: None) -> Store:
    return Store(tmp_path)


@pytest.fixture
async def serve(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Start services, one after the other, that share a cache; the pauses of the life cycle are short."""
    monkeypatch.setattr(reconciler, "_DRAIN_S", 0.05)
    monkeypatch.setattr(reconciler, "_FIRST_PAUSE_S", 0.05)
    started: list[Service] = []

    async def start(store_url: str = store.url, **settings: object) -> Service:
        service = Service(store_url, tmp_path / "cache", **settings)
        started.append(service)
        await service.start()
        return service

    yield start
    for service in started:
        await service.stop()
    assert shifting_engine.loaded == []


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """The log of the service."""
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)  # BentoML turns it off when it serves.
    caplog.set_level(logging.INFO, "bentoml")
    return caplog
