"""Loading a version: its states, its batch profile, and what a failure leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model_store.errors import (
    AccessDeniedError,
    DiskError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from service.batching.batcher import Batcher
from service.core.serving_state import VersionState
from service.lifecycle.crash_loop_guard import LoadCrashedError
from service.lifecycle.desired_state import VersionSource
from service.lifecycle.golden_check import GoldenMismatchError
from service.lifecycle.loaded_version import LoadedVersion
from service.lifecycle.loader import Loader, LoadTimeoutError, error_code, is_final
from service.settings import Settings
from service.telemetry.metrics import RunnerMetrics

from . import shifting_engine
from .service import Store


@pytest.mark.parametrize(
    ("error", "code", "final"),
    [
        (IntegrityError("x"), "DATA_LOSS", True),
        (NotFoundError("x"), "NOT_FOUND", False),
        (AccessDeniedError("x"), "PERMISSION_DENIED", False),
        (UnavailableError("x"), "UNAVAILABLE", False),
        (DiskError("x"), "RESOURCE_EXHAUSTED", False),
        (MemoryError(), "RESOURCE_EXHAUSTED", False),
        (StoreError("x"), "FAILED_PRECONDITION", False),
        (GoldenMismatchError("x"), "FAILED_PRECONDITION", True),
        (LoadCrashedError("x"), "RESOURCE_EXHAUSTED", True),
        (LoadTimeoutError("x"), "DEADLINE_EXCEEDED", True),
        (LookupError("x"), "FAILED_PRECONDITION", True),
        (RuntimeError("x"), "INTERNAL", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_has_the_code_of_a_grpc_status_and_is_final_or_not(error: Exception, code: str, final: bool) -> None:
    assert (error_code(error), is_final(error)) == (code, final)


@pytest.fixture
async def loader(store: Store, tmp_path: Path) -> AsyncIterator[Loader]:
    settings = Settings(model_store_url=store.url, model_cache_dir=tmp_path / "cache", max_batch_size=2)
    batcher = Batcher(RunnerMetrics(), max_images=64, max_bytes=2**20)
    batcher.start()
    yield Loader(settings, VersionSource(settings), batcher)
    await batcher.stop()
    shifting_engine.loaded.clear()


async def load(loader: Loader, store: Store, version: int, *loaded: LoadedVersion) -> LoadedVersion:
    return await loader.load(store.resolve(version), lambda _: None, lambda: list(loaded))


async def test_a_version_passes_every_state_and_keeps_its_profile(store: Store, loader: Loader, tmp_path: Path) -> None:
    store.publish(1)
    states: list[VersionState] = []
    version = await loader.load(store.resolve(1), states.append, list)
    assert states == [VersionState.PULLING, VersionState.LOADING, VersionState.WARMING, VersionState.CHECKING]
    assert set(version.profile.rates) == {1, 2}
    assert list((tmp_path / "cache" / ".loading").iterdir()) == []
    (profile,) = (tmp_path / "cache" / ".learned").iterdir()
    stored = profile.stat()
    again = await load(loader, store, 1)
    assert again.profile.rates.keys() == version.profile.rates.keys()
    assert profile.stat() == stored  # Read again, not measured again.


async def test_the_profile_of_a_similar_version_is_reused(store: Store, loader: Loader) -> None:
    store.publish(1)
    store.publish(2)
    first = await load(loader, store, 1)
    first.profile.rates[64] = 1.0  # A size that no calibration of this service tries.
    second = await load(loader, store, 2, first)
    assert second.profile is not first.profile
    assert 64 in second.profile.rates


async def test_a_failed_version_is_not_in_memory(store: Store, loader: Loader) -> None:
    store.publish(1, flaw="golden")
    with pytest.raises(GoldenMismatchError):
        await load(loader, store, 1)
    assert shifting_engine.loaded == []


async def test_an_unloaded_version_is_closed(store: Store, loader: Loader) -> None:
    store.publish(3)
    version = await load(loader, store, 1)
    assert shifting_engine.loaded == [3]
    await loader.unload(version)
    assert shifting_engine.loaded == []
