from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from model_store.catalog.reference import Resolved, resolve
from model_store.errors import (
    DiskError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UnavailableError,
    UsageError,
)
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.part import Part
from model_store.transfer.publish import publish
from model_store.transfer.pull import pull, pull_to_folder
from tests.model_store.conftest import Store
from tests.model_store.samples import FILES, WatchedRemote, contents, kept, parts, start_python, visible

HELD_PULL = """
    import sys, time
    from pathlib import Path
    from model_store.transfer.cache import Cache
    from model_store.transfer.pull import pull
    from model_store.catalog.reference import resolve
    from model_store.store.remote import Remote, Stream

    class Held(Remote):
        def stream(self, path, start=0, end=None):
            inner = super().stream(path, start, end)

            def blocks(at=start):
                for block in inner:
                    if at >= 8 * 2**20:
                        time.sleep(60)
                    yield block
                    at += len(block)

            return Stream(blocks(), inner.size, inner.etag)

    inner = Remote.open(sys.argv[1])
    remote = Held(inner._connect, inner.url)
    pull(remote, resolve(remote, "xception"), Cache(Path(sys.argv[2])))
"""


def files_only(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(root).items() if name != "manifest.json"}


def test_round_trip(store: Store, published: Resolved, cache: Cache, folder: Path) -> None:
    model = pull(Remote.open(store.url), published, cache)
    assert (model.model, model.version, model.digest) == ("xception", 1, published.manifest_digest)
    assert model.root == cache.root / "xception" / published.manifest_digest.replace(":", "-")
    assert contents(model.root) == contents(folder)
    assert model.files == set(FILES)
    assert parts(cache.root) == []


def test_what_is_in_the_cache_is_not_fetched_again(store: Store, published: Resolved, cache: Cache) -> None:
    pull(store.open(), published, cache)
    remote = WatchedRemote(store.url)
    pull(remote, published, cache)
    assert remote.streamed == set()
    assert remote.gets == []


def test_a_complete_cache_needs_no_store(store: Store, published: Resolved, cache: Cache) -> None:
    pull(store.open(), published, cache)
    assert pull(Remote.open("file:///no/such/store"), published, cache).files == set(FILES)


def test_only_selected_files_then_the_others(store: Store, published: Resolved, cache: Cache, folder: Path) -> None:
    first = ["golden/pixels.npy", "openvino/fp32 é.xml"]
    remote = WatchedRemote(store.url)
    model = pull(remote, published, cache, select=lambda _: first)
    assert model.files == set(first)
    assert sorted(files_only(model.root)) == sorted(first)
    assert len(remote.streamed) == 2
    model = pull(remote, published, cache)
    assert contents(model.root) == contents(folder)
    assert len(remote.streamed) == len(FILES)


def test_a_selection_that_is_not_listed(store: Store, published: Resolved, cache: Cache) -> None:
    with pytest.raises(NotFoundError, match="lists no file 'x'"):
        pull(store.open(), published, cache, select=lambda _: ["x"])


def test_a_killed_pull_resumes(store: Store, published: Resolved, cache: Cache, folder: Path, big_bytes: bytes) -> None:
    process = start_python(HELD_PULL, store.url, str(cache.root))
    deadline = time.monotonic() + 30
    while list(kept(cache.root).values()) != [8 * 2**20] and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert visible(cache.root) == []
    assert kept(cache.root) == {hashlib.sha256(big_bytes).hexdigest(): 8 * 2**20}
    remote = WatchedRemote(store.url)
    model = pull(remote, published, cache)
    assert remote.streamed == {"xception/1/saved_model.pb"}
    assert remote.gets == []
    assert remote.bytes == len(big_bytes) - 8 * 2**20
    assert contents(model.root) == contents(folder)
    assert kept(cache.root) == {}


@pytest.mark.parametrize("left", [b"other bytes", b"x" * 30_000_000], ids=["wrong", "too long"])
def test_a_part_that_is_wrong_is_fetched_from_the_front(
    store: Store, published: Resolved, cache: Cache, folder: Path, big_bytes: bytes, left: bytes
) -> None:
    cache.parts.mkdir(parents=True)
    (cache.parts / f"sha256-{hashlib.sha256(big_bytes).hexdigest()}").write_bytes(left)
    model = pull(store.open(), published, cache)
    assert contents(model.root) == contents(folder)
    assert kept(cache.root) == {}


def test_a_part_that_is_whole_is_not_fetched(
    store: Store, published: Resolved, cache: Cache, folder: Path, big_bytes: bytes
) -> None:
    cache.parts.mkdir(parents=True)
    (cache.parts / f"sha256-{hashlib.sha256(big_bytes).hexdigest()}").write_bytes(big_bytes)
    remote = WatchedRemote(store.url)
    model = pull(remote, published, cache)
    assert contents(model.root) == contents(folder)
    assert "xception/1/saved_model.pb" not in remote.streamed


def test_a_part_in_use_is_left_to_its_user(
    store: Store, published: Resolved, cache: Cache, folder: Path, big_bytes: bytes
) -> None:
    with Part(cache.parts, f"sha256-{hashlib.sha256(big_bytes).hexdigest()}") as part:
        part.write(big_bytes[:1000])
        model = pull(store.open(), published, cache)
        assert contents(model.root) == contents(folder)
        assert part.size == 1000
    assert parts(cache.root) == []


def test_a_stream_that_breaks_is_an_error_and_resumes(store: Store, published: Resolved, cache: Cache) -> None:
    def breaks(path: str, block: bytes) -> bytes:
        if path.endswith("golden/scores.npy"):
            raise UnavailableError("the line broke")
        return block

    broken = WatchedRemote(store.url, breaks)
    broken.patience_s = 0.5
    with pytest.raises(UnavailableError, match="the line broke"):
        pull(broken, published, cache)
    assert visible(cache.root) == []
    assert parts(cache.root) == []
    there = set(files_only(cache.incoming(published)))
    remote = WatchedRemote(store.url)
    pull(remote, published, cache)
    assert {path.removeprefix("xception/1/") for path in remote.streamed} == set(FILES) - there


def test_pullers_at_once_fetch_once(store: Store, published: Resolved, cache: Cache, folder: Path) -> None:
    remote = WatchedRemote(store.url)
    roots: list[Path] = []
    threads = [
        threading.Thread(target=lambda: roots.append(pull(remote, published, Cache(cache.root)).root)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 3
    assert len(remote.streamed) == len(FILES)
    assert contents(roots[0]) == contents(folder)


@pytest.mark.parametrize("run", range(5))
def test_pullers_at_once_are_right_without_the_lock(
    file_store: Store, folder: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, run: int
) -> None:
    publish(folder, file_store.open(), "xception", labels=["stable"])
    published = resolve(file_store.open(), "xception")
    monkeypatch.setattr("model_store.transfer.cache._acquire", lambda _: False)
    select = {0: ["saved_model.pb"], 1: ["golden/pixels.npy", "golden/scores.npy"], 2: list(FILES)}
    done: list[bool] = []

    def run_one(number: int) -> None:
        model = pull(Remote.open(file_store.url), published, Cache(cache.root), select=lambda _: select[number])
        done.append(all(model.path(name).read_bytes() == (folder / name).read_bytes() for name in model.files))

    threads = [threading.Thread(target=run_one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 3
    assert parts(cache.root) == []


def test_a_corrupt_file_in_the_cache_is_fetched_again(
    store: Store, published: Resolved, cache: Cache, folder: Path
) -> None:
    model = pull(store.open(), published, cache)
    model.path("golden/pixels.npy").write_bytes(b"PIXELS")
    model.path("golden/scores.npy").write_bytes(b"short")
    model.path("variables/empty").unlink()
    remote = WatchedRemote(store.url)
    again = pull(remote, published, cache)
    assert len(remote.streamed) == 3
    assert contents(again.root) == contents(folder)


def test_a_corrupt_manifest_in_the_cache_is_fetched_again(
    store: Store, published: Resolved, cache: Cache, folder: Path
) -> None:
    model = pull(store.open(), published, cache)
    (model.root / "manifest.json").write_bytes(b"{}")
    assert contents(pull(store.open(), published, cache).root) == contents(folder)


def test_links_in_the_cache_lead_nowhere(file_store: Store, small: Path, cache: Cache, tmp_path: Path) -> None:
    remote = file_store.open()
    publish(small, remote, "xception")
    resolved = resolve(remote, "xception", 1)
    model = pull(remote, resolved, cache)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "pixels.npy").write_bytes(b"pixels")
    model.path("golden/pixels.npy").unlink()
    model.path("golden/pixels.npy").symlink_to(outside / "pixels.npy")
    pull(remote, resolved, cache)
    assert not model.path("golden/pixels.npy").is_symlink()
    shutil.rmtree(model.root / "golden")
    (model.root / "golden").symlink_to(outside)
    with pytest.raises(IntegrityError, match="leads out of the folder"):
        pull(remote, resolved, cache)
    assert contents(outside) == {"pixels.npy": b"pixels"}


def test_two_versions_side_by_side(file_store: Store, folder: Path, small: Path, cache: Cache) -> None:
    remote = file_store.open()
    for version in (folder, small):
        publish(version, remote, "xception")
    models = [pull(remote, resolve(remote, "xception", number), cache) for number in (1, 2)]
    assert contents(models[0].root) == contents(folder)
    assert contents(models[1].root) == contents(small)


def test_too_little_room_is_told_before_the_download(
    file_store: Store, small: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(small, file_store.open(), "xception")
    real = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=10))
    remote = WatchedRemote(file_store.url)
    with pytest.raises(DiskError, match=r"are needed, 10 B are free"):
        pull(remote, resolve(remote, "xception", 1), cache)
    assert remote.streamed == set()


def test_a_disk_that_fills_up_leaves_nothing(
    file_store: Store, small: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(small, file_store.open(), "xception")
    resolved = resolve(file_store.open(), "xception", 1)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match="the disk is full"):
            pull(file_store.open(), resolved, cache)
        with pytest.raises(DiskError, match="the disk is full"):
            pull_to_folder(file_store.open(), resolved, tmp_path / "new")
    assert visible(cache.root) == []
    assert parts(cache.root) == []
    assert parts(tmp_path) == []
    assert pull(file_store.open(), resolved, cache).files == set(FILES)


def test_into_a_new_folder(store: Store, published: Resolved, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "new"
    model = pull_to_folder(store.open(), published, output)
    assert contents(output) == contents(folder)
    assert model.root == output
    assert list(output.parent.iterdir()) == [output]
    with pytest.raises(UsageError, match="exists already"):
        pull_to_folder(store.open(), published, output)


def test_every_failure_is_a_store_error(file_store: Store, small: Path, tmp_path: Path) -> None:
    publish(small, file_store.open(), "xception")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="file"):
        pull(file_store.open(), resolve(file_store.open(), "xception", 1), Cache(tmp_path / "file"))
