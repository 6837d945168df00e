"""A watch tells each change of the labels once, for few requests, whatever became of the copy."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest

from model_store.catalog.label_watch import LabelWatch
from model_store.catalog.labels import read_labels, set_label
from model_store.catalog.reference import resolve
from model_store.errors import AccessDeniedError, NotFoundError, UnavailableError
from model_store.store.remote import Remote
from tests.ceph import Ceph
from tests.model_store.conftest import Store
from tests.model_store.samples import COPY, target


class CountingRemote(Remote):
    """Notes what is asked for."""

    def __init__(self, store: Store) -> None:
        inner = store.open()
        super().__init__(inner._connect, inner.url)
        self.asked: list[str] = []

    def get(self, path: str, limit: int) -> bytes:
        self.asked.append(path)
        return super().get(path, limit)

    def get_if_changed(self, path: str, limit: int, etag: str | None) -> tuple[bytes, str | None] | None:
        answer = super().get_if_changed(path, limit, etag)
        self.asked.append(f"{path} {'200' if answer else '304'}")
        return answer


@dataclass(frozen=True)
class Sides:
    """One store as its owner sees it, and as a reader who may get objects, and may not list them."""

    owner: Remote
    reader: Remote


@pytest.fixture
def sides(ceph: Ceph, ceph_url: str, monkeypatch: pytest.MonkeyPatch) -> Sides:
    owner = Remote.open(ceph_url, publishing=True)
    owner.put_create("xception/labels/before", b"")  # connects, as the owner
    user = ceph.add_user(f"reader-{uuid.uuid4().hex[:8]}")
    ceph.allow(ceph_url.split("/")[2], user.name, ["s3:GetObject"])
    for name, value in user.environment(ceph.endpoint).items():
        monkeypatch.setenv(name, value)
    return Sides(owner, Remote.open(ceph_url))


def test_a_watch_tells_changes_once(store: Store) -> None:
    remote = store.open()
    remote.put_create("other/x", b"")
    watch = LabelWatch(store.open(), "xception")
    assert watch.poll() is None
    for version in (1, 2):
        record = set_label(remote, "xception", "stable", target(version))
        assert watch.poll() == record
        assert watch.poll() is None
    for version in (3, 4, 5):
        record = set_label(remote, "xception", "stable", target(version))
    assert watch.poll() == record
    assert watch.poll() is None


def test_a_watch_that_finds_nothing_new_costs_two_requests(store: Store) -> None:
    set_label(store.open(), "xception", "stable", target(1))
    remote = CountingRemote(store)
    watch = LabelWatch(remote, "xception")
    assert watch.poll()
    remote.asked.clear()
    assert watch.poll() is None
    assert remote.asked == [f"{COPY} 304", "xception/labels/000002.json"]


@pytest.mark.parametrize("copy", [None, b"not json", b'{"sequence": 1}', b'{"sequence": 900}'])
def test_a_watch_follows_the_records_and_not_the_copy(store: Store, copy: bytes | None) -> None:
    remote = store.open()
    for version in (1, 2):
        set_label(remote, "xception", "stable", target(version))
    watch = LabelWatch(store.open(), "xception")
    assert watch.poll()
    record = set_label(remote, "xception", "stable", target(3))
    if copy is None:
        remote.delete([COPY])
    else:
        remote.put_overwrite(COPY, copy)
    assert watch.poll() == record
    assert watch.poll() is None
    record = set_label(remote, "xception", "stable", target(4))
    assert watch.poll() == record
    assert LabelWatch(store.open(), "xception").poll() == record


def test_a_watch_notices_a_store_that_was_set_up_anew(store: Store) -> None:
    remote = store.open()
    for version in (1, 2, 3):
        set_label(remote, "xception", "stable", target(version))
    watch = LabelWatch(store.open(), "xception")
    assert watch.poll()
    remote.delete([COPY, *(f"xception/labels/{number:06d}.json" for number in (1, 2, 3))])
    with pytest.raises(NotFoundError, match="the labels of 'xception' are gone; is the store still there"):
        watch.poll()
    record = set_label(remote, "xception", "stable", target(9))
    assert watch.poll() == record


def test_a_reader_without_the_right_to_list(sides: Sides) -> None:
    """To such a reader the server says «forbidden» of what is not there."""
    with pytest.raises(AccessDeniedError):
        sides.reader.get("xception/nothing", 1)
    with pytest.raises(AccessDeniedError):
        sides.reader.list_files("xception/labels")
    set_label(sides.owner, "xception", "stable", target(1))
    watch = LabelWatch(sides.reader, "xception")
    for version in (2, 3):
        assert watch.poll() == read_labels(sides.reader, "xception") == read_labels(sides.owner, "xception")
        assert watch.poll() is None
        set_label(sides.owner, "xception", "stable", target(version))
    sides.owner.delete([COPY])
    assert watch.poll() == read_labels(sides.owner, "xception") == read_labels(sides.reader, "xception")
    assert watch.poll() is None
    for selector in ("stable", target(3).manifest):
        assert resolve(sides.reader, "xception", selector).version == 3
    with pytest.raises(NotFoundError, match="no label 'beta'; it has: stable"):
        resolve(sides.reader, "xception", "beta")
    with pytest.raises(NotFoundError, match=r"ever pointed to .*could not be listed"):
        resolve(sides.reader, "xception", target(9).manifest)
    for blind in (LabelWatch(sides.reader, "nothing").poll, lambda: read_labels(sides.reader, "nothing")):
        with pytest.raises(AccessDeniedError):
            blind()


def test_a_watch_tells_later_what_an_error_hid(store: Store) -> None:
    class Shaky(CountingRemote):
        fails = False

        def get_if_exists(self, path: str, limit: int) -> bytes | None:
            if self.fails:
                raise UnavailableError(f"{path}: no answer")
            return super().get_if_exists(path, limit)

    set_label(store.open(), "xception", "stable", target(1))
    remote = Shaky(store)
    watch = LabelWatch(remote, "xception")
    assert watch.poll()
    record = set_label(store.open(), "xception", "stable", target(2))
    remote.fails = True
    with pytest.raises(UnavailableError):
        watch.poll()
    remote.fails = False
    assert watch.poll() == record
