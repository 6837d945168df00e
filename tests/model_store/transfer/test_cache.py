from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from model_store.catalog.reference import Resolved, resolve
from model_store.errors import IntegrityError, NotFoundError, UsageError
from model_store.transfer.cache import STALE_PART_S, Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import pull
from model_store.trust.verify import VerifiedModel
from tests.model_store.conftest import Store
from tests.model_store.samples import WatchedRemote, write_version


@pytest.fixture
def pulled(file_store: Store, small: Path, tmp_path: Path) -> tuple[Cache, Resolved, VerifiedModel]:
    remote = file_store.open()
    publish(small, remote, "xception", labels=["stable"])
    resolved = resolve(remote, "xception")
    cache = Cache(tmp_path / "cache")
    return cache, resolved, pull(remote, resolved, cache)


def test_what_served_is_recalled(pulled: tuple[Cache, Resolved, VerifiedModel]) -> None:
    cache, resolved, model = pulled
    assert cache.recall("xception", "stable") is None
    cache.remember(model, "stable")
    cache.remember(model, 1)
    assert Cache(cache.root).recall("xception") == resolved
    assert cache.recall("xception", "1") == Resolved("xception", 1, resolved.manifest_digest, None)
    assert cache.recall("xception", "canary") is None
    assert cache.verified(resolved).files == model.files


def test_what_served_under_a_digest_is_recalled(pulled: tuple[Cache, Resolved, VerifiedModel]) -> None:
    cache, resolved, model = pulled
    cache.remember(model, model.digest)
    assert cache.recall("xception", model.digest) == Resolved("xception", 1, resolved.manifest_digest, None)
    assert cache.recall("xception", f"sha256:{0:064x}") is None
    (record,) = (cache.root / ".last-good" / "xception").iterdir()
    assert record.name == f"sha256-{model.digest.removeprefix('sha256:')}.json"


def test_nothing_is_recalled_that_is_gone_or_unreadable(
    pulled: tuple[Cache, Resolved, VerifiedModel],
) -> None:
    cache, resolved, model = pulled
    cache.remember(model, "stable")
    cache.entry(resolved).rename(cache.root / "elsewhere")
    assert cache.recall("xception") is None
    (cache.root / "elsewhere").rename(cache.entry(resolved))
    assert cache.recall("xception") is not None
    (cache.root / ".last-good/xception/stable.json").write_bytes(b'{"format": 2}')
    assert cache.recall("xception") is None


def test_the_cache_alone_hashes_anew(pulled: tuple[Cache, Resolved, VerifiedModel]) -> None:
    cache, resolved, model = pulled
    model.path("golden/pixels.npy").write_bytes(b"PIXELS")
    assert cache.verified(resolved, select=lambda _: ["saved_model.pb"]).files == {"saved_model.pb"}
    with pytest.raises(IntegrityError, match=r"golden/pixels\.npy: expected sha256"):
        cache.verified(resolved)


def test_a_manifest_that_was_changed_does_not_get_to_choose(
    pulled: tuple[Cache, Resolved, VerifiedModel],
) -> None:
    cache, resolved, model = pulled
    path = model.root / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="expected sha256"):
        cache.verified(resolved, select=lambda _: pytest.fail("asked with a wrong manifest"))


def test_what_is_not_in_the_cache(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Cache(tmp_path).verified(Resolved("xception", 1, f"sha256:{0:064x}", None))


@pytest.mark.parametrize(
    ("model", "selector"), [("../x", "stable"), ("x", "../stable"), ("x", "0"), ("x", "sha256:../x")]
)
def test_names_do_not_climb(tmp_path: Path, model: str, selector: str) -> None:
    with pytest.raises(UsageError):
        Cache(tmp_path).recall(model, selector)


def test_sweeps_old_parts_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    old, new = cache.part(), cache.part()
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    past = time.time() - STALE_PART_S - 10
    os.utime(old, (past, past))
    cache.sweep()
    assert [old.exists(), new.exists()] == [False, True]


def age(folder: Path) -> None:
    past = time.time() - STALE_PART_S - 10
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (past, past))


def test_sweeps_pulls_that_nobody_goes_on_with(file_store: Store, small: Path, tmp_path: Path) -> None:
    """All were interrupted or are under way: long ago, today, in another process, and the one that is gone on with."""
    remote, cache = file_store.open(), Cache(tmp_path / "cache")
    publish(small, remote, "xception", labels=["stable"])
    resolved = resolve(remote, "xception")
    left, today, held = (Resolved("xception", 1, f"sha256:{number:064x}", None) for number in range(3))
    for one in (left, today, held, resolved):
        (cache.incoming(one) / "variables").mkdir(parents=True)
        (cache.incoming(one) / "variables" / "empty").write_bytes(b"")
    for one in (left, held, resolved):
        age(cache.incoming(one))
    with cache.lock(held):
        pull(remote, resolved, cache)
    assert [cache.incoming(one).exists() for one in (left, today, held, resolved)] == [False, True, True, False]
    assert list((cache.root / ".incoming").glob("evicted-*")) == []
    cache.sweep()
    assert [cache.incoming(one).exists() for one in (left, today, held)] == [False, True, False]


def test_an_old_pull_is_gone_on_with_and_not_swept(file_store: Store, small: Path, tmp_path: Path) -> None:
    remote, cache = WatchedRemote(file_store.url), Cache(tmp_path / "cache")
    publish(small, file_store.open(), "xception", labels=["stable"])
    resolved = resolve(remote, "xception")
    shutil.copytree(small, cache.incoming(resolved))
    age(cache.incoming(resolved))
    pull(remote, resolved, cache)
    assert remote.streamed == set()


def test_the_oldest_go_but_none_that_is_needed(file_store: Store, tmp_path: Path) -> None:
    remote, cache = file_store.open(), Cache(tmp_path / "cache")
    models = []
    for number in range(1, 7):
        folder = write_version(tmp_path / f"version-{number}", {"saved_model.pb": bytes([number])})
        publish(folder, remote, "xception")
        models.append(pull(remote, resolve(remote, "xception", number), cache))
        os.utime(models[-1].root, (number, number))
    cache.remember(models[0], "stable")
    assert cache.shrink("xception", 6, []) == []
    assert cache.shrink("xception", 4, [models[1].digest]) == [models[2].digest, models[3].digest]
    assert {path.name for path in (cache.root / "xception").iterdir()} == {
        models[number].root.name for number in (0, 1, 4, 5)
    }
    assert list((cache.root / ".incoming").glob("evicted-*")) == []
    assert cache.recall("xception", "stable") is not None
    assert cache.shrink("xception", 1, [model.digest for model in models]) == []
    assert cache.shrink("other", 1, []) == []
