from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.catalog.reference import Resolved, resolve
from model_store.errors import (
    IntegrityError,
    ManifestError,
    NotFoundError,
)
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import check_remote, pull, pull_to_folder
from model_store.trust.manifest import Manifest, digest_of
from tests.model_store.conftest import Store
from tests.model_store.samples import WatchedRemote, kept, parts, visible


def overwrite(store: Store, name: str, data: bytes) -> None:
    store.open().put_overwrite(f"xception/1/{name}", data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PIXELS", "expected sha256"),
        (b"pixels and more", "expected 6 bytes, found more"),
        (b"pix", "expected 6 bytes, found 3"),
    ],
)
def test_other_bytes_are_refused_and_not_seen(
    store: Store, published: Resolved, cache: Cache, tmp_path: Path, data: bytes, says: str
) -> None:
    overwrite(store, "golden/pixels.npy", data)
    for action in (
        lambda: pull(store.open(), published, cache),
        lambda: pull_to_folder(store.open(), published, tmp_path / "out" / "new"),
        lambda: check_remote(store.open(), published),
    ):
        with pytest.raises(IntegrityError, match=rf"xception/1/golden/pixels\.npy: {says}"):
            action()
    assert visible(cache.root) == []
    assert parts(cache.root) == []
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[:-1] + b"?", "expected sha256"),
        (lambda data: data[:-1], "expected 20000001 bytes, found 20000000"),
        (lambda data: data + b"?", "expected 20000001 bytes, found (20000002|more)"),
        (lambda data: data[:100], "expected 20000001 bytes, found 100"),
    ],
    ids=["other", "shorter", "longer", "short"],
)
def test_a_large_file_of_other_bytes_is_refused_and_not_seen(
    store: Store, published: Resolved, cache: Cache, big_bytes: bytes, spoil: Callable[[bytes], bytes], says: str
) -> None:
    data = spoil(big_bytes)
    store.open().upload("xception/1/saved_model.pb", iter([data]), len(data))
    for action in (
        lambda: pull(store.open(), published, cache),
        lambda: check_remote(store.open(), published),
    ):
        with pytest.raises(IntegrityError, match=rf"xception/1/saved_model\.pb: {says}"):
            action()
    assert visible(cache.root) == []
    assert parts(cache.root) == []
    assert kept(cache.root) == {}


def test_a_file_that_grew_is_not_read_to_its_end(store: Store, published: Resolved, cache: Cache) -> None:
    overwrite(store, "golden/pixels.npy", bytes(20_000_000))
    remote = WatchedRemote(store.url)
    with pytest.raises(IntegrityError, match="found more"):
        pull(remote, published, cache, select=lambda _: ["golden/pixels.npy"])
    assert remote.bytes < 5_000_000


def test_a_listed_file_that_is_not_there(file_store: Store, small: Path, cache: Cache) -> None:
    remote = file_store.open()
    publish(small, remote, "xception", labels=["stable"])
    remote._connected().delete("xception/1/golden/pixels.npy")
    with pytest.raises(IntegrityError, match=r"not found, though manifest\.json lists it"):
        pull(remote, resolve(remote, "xception"), cache)


def test_a_manifest_other_than_the_label_promised(
    store: Store, published: Resolved, cache: Cache, tmp_path: Path
) -> None:
    data = store.open().get("xception/1/manifest.json", 10**6)
    overwrite(store, "manifest.json", data.replace(b"xception", b"inception"))
    for action in (
        lambda: pull(store.open(), published, cache),
        lambda: pull_to_folder(store.open(), published, tmp_path / "new"),
    ):
        with pytest.raises(IntegrityError, match="changed after it was published"):
            action()
    assert visible(cache.root) == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"format": 1', b'"format": 2', "format 2; this release reads format 1 only"),
        (b"variables/empty", b"../../../escaped", "not a plain relative path"),
        (b"variables/empty", b"/tmp/escaped", "not a plain relative path"),
    ],
)
def test_manifests_that_no_reader_follows(
    store: Store, small: Path, cache: Cache, tmp_path: Path, old: bytes, new: bytes, says: str
) -> None:
    remote = store.open()
    publish(small, remote, "xception")
    data = remote.get("xception/1/manifest.json", 10**6)
    assert old in data
    overwrite(store, "manifest.json", data.replace(old, new))
    resolved = resolve(remote, "xception", 1)
    with pytest.raises(ManifestError, match=says):
        pull(remote, resolved, cache)
    assert visible(cache.root) == []
    assert not list(tmp_path.rglob("escaped"))


def test_no_such_version(store: Store, published: Resolved, cache: Cache) -> None:
    with pytest.raises(NotFoundError, match="no version 7"):
        pull(store.open(), replace(published, version=7), cache)


def test_what_is_checked_remotely_is_the_manifest(store: Store, published: Resolved, folder: Path) -> None:
    manifest = check_remote(store.open(), published)
    assert manifest == Manifest.parse((folder / "manifest.json").read_bytes())
    assert published.manifest_digest == digest_of((folder / "manifest.json").read_bytes())
