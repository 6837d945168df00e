"""Versions that must not serve, and a store that is unreachable: the version that served before keeps serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from prometheus_client import REGISTRY

from service.core.errors import ModelNotFoundError, NotReadyError, ReloadFailedError
from service.core.serving_state import VersionState
from tests.model_store.web_server import serve_folder
from tests.slow_link import SlowLink

from . import shifting_engine
from .conftest import Serve
from .service import Store, until

AVAILABLE, FAILED = VersionState.AVAILABLE, VersionState.FAILED


def failures(code: str) -> float:
    labels = {"model": "xception", "error_code": code}
    return REGISTRY.get_sample_value("xception_model_failures_total", labels) or 0.0


@pytest.mark.parametrize(
    ("flaw", "code", "reason"),
    [
        ("golden", "FAILED_PRECONDITION", "golden"),
        ("unreadable", "INTERNAL", "invalid literal"),
        ("damaged", "DATA_LOSS", "expected sha256"),
    ],
)
async def test_a_bad_version_never_serves(
    store: Store, serve: Serve, log: pytest.LogCaptureFixture, flaw: str, code: str, reason: str
) -> None:
    store.publish(1, "stable")
    service = await serve()
    await service.ready()
    before = failures(code)
    store.publish(2, "stable", flaw=flaw)
    if flaw == "damaged":
        store.damage(2)
    async with service.under_load() as served:
        with pytest.raises(ReloadFailedError, match=reason) as failed:
            await service.reconciler.reload()
    assert set(served) == {(1, 1)}
    assert "version 2 (label 'stable') cannot be served" in str(failed.value)
    assert service.states() == {1: (AVAILABLE, "OK"), 2: (FAILED, code)}
    assert reason in service.error_of(2)
    assert failures(code) == before + 1
    assert "version 2 (label 'stable') cannot be served" in log.text
    assert shifting_engine.loaded == [1]
    with pytest.raises(ModelNotFoundError):
        await service.serves(version=2)
    store.publish(3, "stable")
    await service.reconciler.reload()
    assert await service.serves() == (3, 3)


@pytest.mark.parametrize(("flaw", "reason"), [("golden", "differs by"), ("damaged", "weights: expected sha256")])
async def test_a_first_version_that_is_bad_never_serves(store: Store, serve: Serve, flaw: str, reason: str) -> None:
    store.publish(1, "stable", flaw=flaw)
    if flaw == "damaged":
        store.damage(1)
    service = await serve()
    await until(lambda: 1 in service.states() and service.states()[1][0] == FAILED)
    assert reason in service.error_of(1)
    with pytest.raises(NotReadyError, match=reason):
        await service.serves()


async def test_a_restart_onto_a_bad_version_falls_back(
    store: Store, serve: Serve, log: pytest.LogCaptureFixture
) -> None:
    store.publish(1, "stable")
    first = await serve()
    await first.ready()
    await first.stop()
    store.publish(2, "stable", flaw="golden")
    second = await serve()
    await second.ready()
    assert await second.serves() == (1, 1)
    assert second.states()[2] == (FAILED, "FAILED_PRECONDITION")
    assert "falling back to version 1, which served last" in log.text


async def test_a_restart_after_a_load_that_crashed_the_runner_falls_back(
    store: Store, serve: Serve, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    store.publish(1, "stable")
    first = await serve()
    await first.ready()
    await first.stop()
    store.publish(2, "stable")
    marker = tmp_path / "cache" / ".loading" / store.resolve(2).manifest_digest.replace(":", "-")
    marker.write_text("2")  # As two runners leave it that were killed for their memory while they loaded version 2.
    second = await serve()
    await second.ready()
    assert await second.serves() == (1, 1)
    assert second.states()[2] == (FAILED, "RESOURCE_EXHAUSTED")
    assert "crashed 2 times" in log.text
    await second.reconciler.reload()
    assert await second.serves() == (2, 2)


async def test_only_versions_signed_with_the_right_key_serve(store: Store, serve: Serve, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(pem)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
    store.publish(1, "stable", key=tmp_path / "ours.pem")
    service = await serve(model_public_key=tmp_path / "ours.pub")
    await service.ready()
    for key, reason in ((None, "is not signed"), (tmp_path / "theirs.pem", "signed with another key")):
        version = store.publish(2, "stable", key=key)
        with pytest.raises(ReloadFailedError, match=reason):
            await service.reconciler.reload()
        assert service.states()[version] == (FAILED, "DATA_LOSS")
        assert await service.serves() == (1, 1)
    store.publish(3, "stable", key=tmp_path / "ours.pem")
    await service.reconciler.reload()
    assert await service.serves() == (4, 3)


async def test_an_engine_that_hangs_while_it_is_loaded_blocks_nothing(store: Store, serve: Serve) -> None:
    store.publish(1, "stable")
    service = await serve(load_timeout_s=0.3)
    await service.ready()
    shifting_engine.gate.clear()
    try:
        store.publish(2, "stable")
        async with service.under_load():
            with pytest.raises(ReloadFailedError, match=r"was not loaded within LOAD_TIMEOUT_S=0.3"):
                await service.reconciler.reload()
        assert service.states() == {1: (AVAILABLE, "OK"), 2: (FAILED, "DEADLINE_EXCEEDED")}
    finally:
        shifting_engine.gate.set()
    await until(lambda: shifting_engine.loaded == [1, 2])  # The thread ends; its engine is dropped.
    shifting_engine.loaded.remove(2)
    await service.reconciler.reload()
    assert await service.serves() == (2, 2)


async def test_an_empty_store_is_waited_for(store: Store, serve: Serve) -> None:
    store.folder.mkdir()
    service = await serve()
    await until(lambda: "holds no model 'xception'" in (service.reconciler.versions.describe().waiting_for or ""))
    with pytest.raises(NotReadyError, match="holds no model 'xception'"):
        await service.serves()
    store.publish(1, "stable")
    await service.ready()
    assert await service.serves() == (1, 1)


@pytest.fixture
def link(store: Store) -> Iterator[SlowLink]:
    """A link to the store that can be cut."""
    store.publish(1, "stable")
    with serve_folder(store.folder) as url, SlowLink(int(url.rpartition(":")[2])) as link:
        yield link


REMOTE = {"model_store_timeout_s": 0.3, "model_poll_s": 0.05}


async def test_while_the_store_is_unreachable_a_restart_serves_from_the_cache(
    store: Store, serve: Serve, link: SlowLink, log: pytest.LogCaptureFixture
) -> None:
    first = await serve(link.endpoint, **REMOTE)
    await first.ready()
    await first.stop()
    link.cut_after = 0
    second = await serve(link.endpoint, **REMOTE)
    await second.ready()
    assert await second.serves() == (1, 1)
    assert "falling back to version 1, which served last" in log.text
    link.mend()
    store.publish(2, "stable")
    await until(lambda: second.reconciler.versions.default == 2)
    assert await second.serves() == (2, 2)


async def test_with_nothing_in_the_cache_an_unreachable_store_is_waited_for(
    serve: Serve, link: SlowLink, tmp_path: Path
) -> None:
    link.cut_after = 0
    service = await serve(link.endpoint, **REMOTE)
    with pytest.raises(NotReadyError, match="check that it is up and reachable"):
        await service.reconciler.reload()
    with pytest.raises(NotReadyError, match="check that it is up and reachable"):
        await service.serves()
    link.mend()
    await service.ready()
    assert await service.serves() == (1, 1)


async def test_an_unreachable_store_changes_nothing_at_a_poll(
    store: Store, serve: Serve, link: SlowLink, log: pytest.LogCaptureFixture
) -> None:
    service = await serve(link.endpoint, **REMOTE)
    await service.ready()
    async with service.under_load() as served:
        link.cut_after = 0
        store.publish(2, "stable")
        await until(lambda: "the labels cannot be read from the store" in log.text)
        assert await service.serves() == (1, 1)
        link.mend()
        await until(lambda: served[2, 2] > 20)
    assert set(served) == {(1, 1), (2, 2)}
