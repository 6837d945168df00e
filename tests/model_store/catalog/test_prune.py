from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store.catalog.history import read_history, remove_label, roll_back
from model_store.catalog.labels import LabelTarget, read_labels, set_label
from model_store.catalog.prune import Plan, PruneCandidate, plan_prune, prune
from model_store.catalog.reference import resolve
from model_store.catalog.versions import list_versions
from model_store.errors import IntegrityError, NotFoundError, UnavailableError, UsageError
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from model_store.transfer.pull import check_remote
from tests.model_store.conftest import Store
from tests.model_store.samples import FILES

SIZE = sum(map(len, FILES.values()))


class Watched(Remote):
    """Notes what is deleted, and may do something before."""

    def __init__(self, store: Store, before: Callable[[list[str]], object] = lambda _: None) -> None:
        inner = store.open()
        super().__init__(inner._connect, inner.url)
        self.deleted: list[list[str]] = []
        self._before = before

    def delete(self, paths: list[str]) -> None:
        self._before(paths)
        self.deleted.append(paths)
        super().delete(paths)


def publish_many(store: Store, folder: Path, count: int) -> list[LabelTarget]:
    remote = store.open()
    done = [publish(folder, remote, "xception") for _ in range(count)]
    return [LabelTarget(version=one.version, manifest=one.digest) for one in done]


def there(store: Store) -> list[int]:
    return [info.version for info in list_versions(store.open(), "xception")]


def numbers(plan: Plan) -> tuple[list[int], list[int]]:
    return [candidate.version for candidate in plan.candidates], [kept.version for kept in plan.kept]


def leave_a_publish(store: Store, version: int, age: timedelta, claim: bytes | None = None) -> None:
    """What an interrupted publish leaves."""
    remote = store.open()
    created = (datetime.now(UTC) - age).isoformat()
    remote.put_create(
        f"xception/claims/{version:06d}.json", claim or json.dumps({"format": 1, "created": created}).encode()
    )
    remote.put_create(f"xception/{version}/saved_model.pb", b"unfinished")
    remote.put_create(f"xception/{version}/variables/part", b"unfinished")


def test_what_labels_need_stays(store: Store, small: Path) -> None:
    versions = publish_many(store, small, 7)
    remote = store.open()
    for number in (1, 2, 3):
        set_label(remote, "xception", "stable", versions[number - 1])
    set_label(remote, "xception", "canary", versions[3])
    plan = plan_prune(remote, "xception", 2)
    assert numbers(plan) == ([1, 5], [2, 3, 4, 6, 7])
    assert [kept.why for kept in plan.kept] == [
        "a rollback of stable goes back to it",
        "stable points to it",
        "canary points to it",
        "among the newest 2",
        "among the newest 2",
    ]
    assert plan.candidates[0].reason == "old"
    assert plan.size > 2 * SIZE
    assert there(store) == [1, 2, 3, 4, 5, 6, 7]  # a plan deletes nothing

    seen: list[PruneCandidate] = []
    assert prune(remote, "xception", 2, note="room", deleted=seen.append) == plan
    assert seen == list(plan.candidates)
    assert there(store) == [2, 3, 4, 6, 7]
    assert remote.list_all("xception/1/") == []
    for version in there(store):
        check_remote(remote, resolve(remote, "xception", version))
    last = read_history(remote, "xception")[-1]
    assert (last.action, last.pruned, last.note, last.moves) == ("prune", (1, 5), "room", ())

    assert numbers(plan_prune(remote, "xception", 2)) == ([], [2, 3, 4, 6, 7])
    assert publish(small, remote, "xception").version == 8
    roll_back(remote, "xception", "stable")
    with pytest.raises(NotFoundError, match="stable cannot go back to version 1: it was pruned"):
        roll_back(remote, "xception", "stable")
    with pytest.raises(NotFoundError, match="xception:5 was pruned"):
        set_label(remote, "xception", "canary", versions[4])


def test_what_a_label_kept_goes_once_it_is_taken_away(store: Store, small: Path) -> None:
    versions = publish_many(store, small, 5)
    remote = store.open()
    for label, number in (("stable", 4), ("canary", 1), ("canary", 2), ("beta", 1), ("beta", 2)):
        set_label(remote, "xception", label, versions[number - 1])
    kept = plan_prune(remote, "xception", 1).kept
    assert [(one.version, one.why, one.labels) for one in kept] == [
        (1, "a rollback of beta or canary goes back to it", ("beta", "canary")),
        (2, "beta, canary point to it", ("beta", "canary")),
        (4, "stable points to it", ("stable",)),
        (5, "among the newest 1", ()),
    ]
    remove_label(remote, "xception", "canary")
    assert numbers(plan_prune(remote, "xception", 1)) == ([3], [1, 2, 4, 5])
    remove_label(remote, "xception", "beta")
    assert numbers(prune(remote, "xception", 1)) == ([1, 2, 3], [4, 5])
    assert there(store) == [4, 5]


def test_without_labels_the_newest_stay(file_store: Store, small: Path) -> None:
    publish_many(file_store, small, 3)
    assert numbers(prune(file_store.open(), "xception", 1)) == ([1, 2], [3])
    assert there(file_store) == [3]
    with pytest.raises(NotFoundError, match="has no labels; name a version: 3"):
        resolve(file_store.open(), "xception", "stable")


def test_the_manifest_goes_first(file_store: Store, small: Path) -> None:
    publish_many(file_store, small, 2)
    watched = Watched(file_store)
    prune(watched, "xception", 1)
    first, rest = watched.deleted
    assert first == ["xception/1/manifest.json"]
    assert sorted(rest) == sorted(f"xception/1/{name}" for name in FILES)


def test_a_prune_that_breaks_off_is_finished_by_the_next(store: Store, small: Path) -> None:
    def broken(paths: list[str]) -> None:
        if len(paths) > 1:
            raise UnavailableError("gone away")

    publish_many(store, small, 2)
    with pytest.raises(UnavailableError):
        prune(Watched(store, broken), "xception", 1)
    assert there(store) == [2]
    assert store.open().list_all("xception/1/")
    plan = prune(store.open(), "xception", 1)
    assert [(candidate.version, candidate.reason) for candidate in plan.candidates] == [(1, "interrupted")]
    assert store.open().list_all("xception/1/") == []


def test_leftovers_of_a_publish_go_after_a_day(store: Store, small: Path) -> None:
    publish_many(store, small, 1)
    leave_a_publish(store, 2, timedelta(hours=25))
    leave_a_publish(store, 3, timedelta(hours=23))
    leave_a_publish(store, 4, timedelta(hours=25), claim=b"not json")  # so the files say when: now
    plan = prune(store.open(), "xception", 1)
    assert [(candidate.version, candidate.reason, candidate.size) for candidate in plan.candidates] == [
        (2, "interrupted", 20)
    ]
    assert [kept.version for kept in plan.kept] == [1, 3, 4]
    assert store.open().list_all("xception/2/") == []
    assert publish(small, store.open(), "xception").version == 5


def test_a_publish_that_was_finished_meanwhile_stays(file_store: Store, small: Path) -> None:
    publish_many(file_store, small, 2)
    remote = file_store.open()
    manifest = remote.get("xception/1/manifest.json", 10**6)
    remote.delete(["xception/1/manifest.json"])
    leave_a_publish(file_store, 3, timedelta(hours=25))
    claim = {"format": 1, "created": (datetime.now(UTC) - timedelta(hours=25)).isoformat()}
    remote.put_overwrite("xception/claims/000001.json", json.dumps(claim).encode())

    def finish(paths: list[str]) -> None:
        if "xception/1/saved_model.pb" in paths:
            remote.put_create("xception/3/manifest.json", manifest)

    plan = prune(Watched(file_store, finish), "xception", 1)
    assert numbers(plan) == ([1], [2, 3])
    assert there(file_store) == [2, 3]


def test_a_label_that_comes_before_the_prune_keeps_the_version(store: Store, small: Path) -> None:
    versions = publish_many(store, small, 3)

    class Late(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            if path == "xception/labels/000001.json":
                set_label(store.open(), "xception", "stable", versions[0])
            super().put_create(path, data)

    inner = store.open()
    plan = prune(Late(inner._connect, inner.url), "xception", 1)
    assert numbers(plan) == ([2], [1, 3])
    record = read_labels(inner, "xception")
    assert record is not None
    assert record.pruned == (2,)
    check_remote(inner, resolve(inner, "xception"))


def test_a_label_that_comes_after_the_prune_is_refused(store: Store, small: Path) -> None:
    versions = publish_many(store, small, 2)

    class Late(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            if path == "xception/labels/000001.json":
                prune(store.open(), "xception", 1)
            super().put_create(path, data)

    inner = store.open()
    with pytest.raises(NotFoundError, match="xception:1 was pruned"):
        set_label(Late(inner._connect, inner.url), "xception", "stable", versions[0])
    record = read_labels(inner, "xception")
    assert record is not None
    assert record.labels == {}


@pytest.mark.parametrize("more", [{}, {"pruned": [1, 2]}])
def test_a_label_of_a_writer_that_ignores_what_was_given_up_keeps_the_version(
    store: Store, small: Path, more: dict[str, list[int]]
) -> None:
    """As the first release is one: it knows nothing of it, and drops it from its records."""
    versions = publish_many(store, small, 3)

    def point(paths: list[str]) -> None:
        if paths == ["xception/1/manifest.json"]:
            labels = {"stable": versions[1].model_dump()}
            record = {"format": 1, "created": "2026-01-01T00:00:00Z", "labels": labels, **more}
            store.open().put_create("xception/labels/000002.json", json.dumps(record).encode())

    plan = prune(Watched(store, point), "xception", 1)
    assert numbers(plan) == ([1], [2, 3])
    assert resolve(store.open(), "xception").version == 2
    check_remote(store.open(), resolve(store.open(), "xception"))


@pytest.mark.parametrize("model", ["one", "two"])
def test_labels_and_prunes_at_once_never_leave_a_label_without_its_version(
    store: Store, small: Path, model: str
) -> None:
    done = [publish(small, store.open(), model) for _ in range(4)]
    outcomes: list[str] = []
    barrier = threading.Barrier(3, timeout=60)

    def label(number: int) -> None:
        target = LabelTarget(version=done[number].version, manifest=done[number].digest)
        barrier.wait()
        try:
            set_label(store.open(), model, f"label-{number}", target)
            outcomes.append("labelled")
        except NotFoundError:
            outcomes.append("pruned")

    def delete() -> None:
        barrier.wait()
        prune(store.open(), model, 1)

    threads = [threading.Thread(target=label, args=(number,)) for number in (0, 1)] + [threading.Thread(target=delete)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 2
    record = read_labels(store.open(), model)
    assert record is not None
    assert len(record.labels) == outcomes.count("labelled")
    for name in record.labels:
        check_remote(store.open(), resolve(store.open(), model, name))


def test_a_history_with_a_hole_stops_everything(file_store: Store, small: Path) -> None:
    versions = publish_many(file_store, small, 3)
    for target in versions:
        set_label(file_store.open(), "xception", "stable", target)
    file_store.open().delete(["xception/labels/000001.json"])
    with pytest.raises(IntegrityError, match=r"labels/000001\.json: missing"):
        prune(file_store.open(), "xception", 1)
    assert there(file_store) == [1, 2, 3]


@pytest.mark.parametrize(("model", "keep"), [("xception", 0), ("xception", -1), ("a/b", 1)])
def test_what_cannot_be_meant(file_store: Store, small: Path, model: str, keep: int) -> None:
    publish_many(file_store, small, 1)
    with pytest.raises(UsageError):
        prune(file_store.open(), model, keep)
    assert there(file_store) == [1]


def test_a_model_that_is_not_there(file_store: Store, small: Path) -> None:
    publish_many(file_store, small, 1)
    assert prune(file_store.open(), "other", 1) == Plan("other", (), ())
