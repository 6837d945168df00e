from __future__ import annotations

import json
import threading

import pytest

from model_store.catalog.author import author
from model_store.catalog.labels import (
    LabelChange,
    append_record,
    read_labels,
    read_records,
    set_label,
    set_labels,
)
from model_store.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from model_store.store.remote import Remote
from tests.model_store.conftest import Store
from tests.model_store.samples import COPY, target


def test_no_labels_yet(store: Store) -> None:
    remote = store.open()
    remote.put_overwrite("other/x", b"")
    assert read_labels(remote, "xception") is None


def test_labels_are_added_and_moved(store: Store) -> None:
    remote = store.open()
    set_label(remote, "xception", "stable", target(1))
    set_label(remote, "xception", "canary", target(2))
    set_label(remote, "xception", "stable", target(3))
    record = read_labels(remote, "xception")
    assert record is not None
    assert record.labels == {"stable": target(3), "canary": target(2)}
    assert record.sequence == 3
    assert record.labels_of(2) == ("canary",)
    assert remote.list_files("xception/labels") == ["000001.json", "000002.json", "000003.json"]


def test_the_layout_on_the_store(file_store: Store) -> None:
    remote = file_store.open()
    set_labels(remote, "xception", {"stable": target(3)}, action="publish", note="erster é")
    record = json.loads(remote.get("xception/labels/000001.json", 1000))
    assert record.pop("created")
    assert record == {
        "format": 1,
        "action": "publish",
        "by": author(),
        "note": "erster é",
        "labels": {"stable": {"version": 3, "manifest": f"sha256:{3:064x}"}},
    }
    assert json.loads(remote.get("xception/labels.json", 1000))["sequence"] == 1


@pytest.mark.parametrize(
    "copy",
    [
        None,
        b"not json",
        b"[]",
        b'{"sequence": 1}',
        b'{"sequence": 900}',
        b'{"sequence": -3}',
        b'{"sequence": "x"}',
    ],
)
def test_a_lost_late_or_broken_copy_heals(store: Store, copy: bytes | None) -> None:
    remote = store.open()
    for version in (1, 2, 3):
        set_label(remote, "xception", "stable", target(version))
    if copy is None:
        remote.delete([COPY])
    else:
        remote.put_overwrite("xception/labels.json", copy)
    record = read_labels(remote, "xception")
    assert record is not None
    assert record.labels["stable"].version == 3
    set_label(remote, "xception", "stable", target(4))
    assert json.loads(remote.get("xception/labels.json", 1000))["sequence"] == 4


def test_writers_at_once_lose_no_change(store: Store) -> None:
    store.open()._connected()
    threads = [
        threading.Thread(target=set_label, args=(store.open(), "xception", f"label-{number}", target(1)))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = read_labels(store.open(), "xception")
    assert record is not None
    assert sorted(record.labels) == [f"label-{number}" for number in range(6)]
    assert record.sequence == 6


def test_a_change_that_always_meets_another_ends(file_store: Store) -> None:
    class Contended(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            raise ConflictError(f"{path}: not these {len(data)} bytes")

    remote = file_store.open()
    contended = Contended(remote._connect, remote.url)
    with pytest.raises(ConflictError, match="20 times in a row"):
        set_label(contended, "xception", "stable", target(1))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"format": 2, "labels": {}}', "format 2; this release reads format 1 only"),
        (b"nonsense", "not JSON"),
        (
            b'{"format": 1, "created": "2026-01-01T00:00:00Z", "labels": {"a": {"version": 0, "manifest": "x"}}}',
            "not valid",
        ),
    ],
)
def test_records_that_cannot_be_read(file_store: Store, data: bytes, says: str) -> None:
    remote = file_store.open()
    remote.put_overwrite("xception/labels/000001.json", data)
    with pytest.raises(IntegrityError, match=says):
        read_labels(remote, "xception")


def test_records_of_the_first_release_and_of_later_ones_are_read(file_store: Store) -> None:
    remote = file_store.open()
    stable = {"version": 2, "manifest": f"sha256:{2:064x}"}
    old = {"format": 1, "created": "2026-01-01T00:00:00Z", "labels": {"stable": stable}}
    remote.put_create("xception/labels/000001.json", json.dumps(old).encode())
    later = {**old, "action": "something new", "unheard": ["of"]}
    remote.put_create("xception/labels/000002.json", json.dumps(later).encode())
    record = read_labels(remote, "xception")
    assert record is not None
    first, second = read_records(remote, "xception", record)
    assert (first.action, first.by, first.note, first.pruned) == (None, None, None, ())
    assert second.action == "something new"
    assert second.labels == {"stable": target(2)}


def test_a_missing_record_leaves_the_history_unknown_but_not_the_labels(file_store: Store) -> None:
    remote = file_store.open()
    for version in (1, 2, 3):
        set_label(remote, "xception", "stable", target(version))
    remote.delete(["xception/labels/000002.json"])
    record = read_labels(remote, "xception")
    assert record is not None
    assert record.labels["stable"].version == 3
    with pytest.raises(IntegrityError, match=r"labels/000002\.json: missing"):
        read_records(remote, "xception", record)


def test_pointing_where_it_points_writes_nothing(store: Store) -> None:
    remote = store.open()
    first = set_label(remote, "xception", "stable", target(1))
    assert set_label(remote, "xception", "stable", target(1)) == read_labels(remote, "xception")
    assert first.sequence == 1
    assert remote.list_files("xception/labels") == ["000001.json"]


def test_a_version_that_was_given_up_gets_no_label(store: Store) -> None:
    remote = store.open()
    set_label(remote, "xception", "stable", target(1))
    append_record(remote, "xception", lambda _: LabelChange({}, pruned=(2,)), action="prune")
    set_label(remote, "xception", "canary", target(3))
    with pytest.raises(NotFoundError, match="xception:2 was pruned, so the label 'stable' cannot point to it"):
        set_label(remote, "xception", "stable", target(2))
    record = read_labels(remote, "xception")
    assert record is not None
    assert (record.pruned, record.sequence) == ((2,), 3)


def test_a_copy_that_cannot_be_written_is_no_failure(file_store: Store) -> None:
    class CopyClosed(Remote):
        def put_overwrite(self, path: str, data: bytes) -> None:
            raise UnavailableError(f"{path}: gone away before {len(data)} bytes")

    inner = file_store.open()
    set_label(CopyClosed(inner._connect, inner.url), "xception", "stable", target(1))
    record = read_labels(inner, "xception")
    assert record is not None
    assert record.labels == {"stable": target(1)}


@pytest.mark.parametrize("note", ["a\nb", "\x1b[2J", "x" * 501])
def test_notes_are_one_line(file_store: Store, note: str) -> None:
    with pytest.raises(UsageError, match="one line of at most 500 characters"):
        set_label(file_store.open(), "xception", "stable", target(1), note=note)
    assert read_labels(file_store.open(), "xception") is None


@pytest.mark.parametrize("label", ["3", "", "Stable", "-a", "a_b", "a" * 64, "a/b", "a\n"])
def test_label_names(file_store: Store, label: str) -> None:
    with pytest.raises(UsageError, match="not a label name"):
        set_label(file_store.open(), "xception", label, target(1))
