"""Versions come and go with the labels: swaps, rollback, the limit of versions, and what is pinned."""

from __future__ import annotations

import shutil

import pytest
from prometheus_client import REGISTRY

from model_store.transfer.cache import Cache
from service.core.errors import ModelNotFoundError, ReloadFailedError
from service.core.serving_state import VersionState

from . import shifting_engine
from .conftest import Serve
from .service import Store, until

AVAILABLE, UNLOADED, FAILED = VersionState.AVAILABLE, VersionState.UNLOADED, VersionState.FAILED


def label_version(label: str) -> float | None:
    return REGISTRY.get_sample_value("xception_model_label_version", {"model": "xception", "label": label})


async def test_every_labelled_version_serves_by_number_and_by_label(store: Store, serve: Serve) -> None:
    assert (store.publish(1, "stable"), store.publish(2, "canary")) == (1, 2)
    service = await serve()
    await until(lambda: service.states().get(2) == (AVAILABLE, "OK"))
    assert await service.serves() == (1, 1)  # The default is the version of MODEL_VERSION, not the highest.
    assert await service.serves(version=2) == await service.serves(label="canary") == (2, 2)
    assert await service.serves(label="stable") == (1, 1)
    with pytest.raises(ModelNotFoundError):
        await service.serves(version=3)
    assert (label_version(""), label_version("canary")) == (1, 2)
    batching = service.reconciler.versions.loaded()[1].describe_batching()
    assert batching.batch_size in batching.images_per_second


async def test_swap_and_rollback_under_load(store: Store, serve: Serve, log: pytest.LogCaptureFixture) -> None:
    store.publish(1, "stable")
    store.publish(2)
    service = await serve()
    await service.ready()
    async with service.under_load() as served:
        for target in (2, 1, 2):
            store.label("stable", target)
            await service.reconciler.reload()
            assert await service.serves() == (target, target)
            seen = served[target, target]
            await until(lambda seen=seen, target=target: served[target, target] > seen + 20)  # type: ignore[misc]
        await until(lambda: service.states()[1] == (UNLOADED, "OK"))
        assert shifting_engine.loaded == [2]
    assert set(served) == {(1, 1), (2, 2)}  # Each response is of the version that it names.
    assert "label 'stable' routes to version 2 (before: 1)" in log.text


async def test_a_version_that_a_label_points_to_again_is_not_unloaded(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    service = await serve()
    await service.ready()
    first = service.reconciler.versions.get(1)
    store.publish(2, "stable")
    await service.reconciler.reload()
    assert service.states()[1] in ((VersionState.DRAINING, "OK"), (AVAILABLE, "OK"))
    store.label("stable", 1)
    await service.reconciler.reload()
    await until(lambda: service.states() == {1: (AVAILABLE, "OK"), 2: (UNLOADED, "OK")})
    assert service.reconciler.versions.get(1) is first


async def test_versions_over_the_limit_are_not_served(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    store.publish(2, "canary")
    service = await serve(max_versions=1)
    await until(lambda: service.states().get(2) == (FAILED, "RESOURCE_EXHAUSTED"))
    assert await service.serves() == (1, 1)
    with pytest.raises(ModelNotFoundError):
        await service.serves(label="canary")
    with pytest.raises(ReloadFailedError, match="MAX_VERSIONS=1"):
        await service.reconciler.reload()
    assert shifting_engine.loaded == [1]


async def test_a_pinned_digest_stays_whatever_the_labels_do(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    service = await serve(model_version=store.resolve(1).manifest_digest)
    await service.ready()
    store.publish(2, "stable")
    await service.reconciler.reload()
    assert await service.serves() == (1, 1)
    assert await service.serves(label="stable") == (2, 2)


async def test_a_label_is_followed_by_polling_and_its_removal_too(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    service = await serve(model_poll_s=0.02)
    await service.ready()
    store.publish(2, "canary")
    await until(lambda: label_version("canary") == 2)
    assert await service.serves(label="canary") == (2, 2)
    store.publish(3, "canary")
    await until(lambda: service.states().get(2) == (UNLOADED, "OK"))
    assert await service.serves(label="canary") == (3, 3)


async def test_the_same_number_with_another_digest_replaces_the_version(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    service = await serve()
    await service.ready()
    shutil.rmtree(store.folder)  # Somebody creates the store anew.
    store.publish(2, "stable")
    await service.reconciler.reload()
    assert await service.serves() == (1, 2)
    assert shifting_engine.loaded == [2]


async def test_the_cache_is_pruned_to_its_limit_but_for_what_is_loaded(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    service = await serve(model_cache_versions=1)
    await service.ready()
    cache = Cache(service.reconciler._settings.model_cache_dir)
    for version in (2, 3):
        store.publish(version, "stable")
        await service.reconciler.reload()
        await until(lambda version=version: shifting_engine.loaded == [version])  # type: ignore[misc]
    kept = {version for version in (1, 2, 3) if cache.entry(store.resolve(version)).exists()}
    assert kept == {2, 3}  # Version 2 was still loaded when 3 became the default.
