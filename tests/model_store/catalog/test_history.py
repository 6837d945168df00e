from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.catalog.author import author
from model_store.catalog.history import read_history, remove_label, roll_back
from model_store.catalog.labels import LabelTarget, read_labels, set_label
from model_store.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from tests.model_store.conftest import Store
from tests.model_store.samples import write_version


@pytest.fixture
def versions(store: Store, tmp_path: Path) -> list[LabelTarget]:
    """Four different versions; `stable` was pointed to the first three in turn, the last has no label."""
    remote = store.open()
    found = []
    for number in range(1, 5):
        folder = write_version(tmp_path / f"v{number}", {"saved_model.pb": bytes([number])})
        done = publish(folder, remote, "xception", labels=["stable"] if number < 4 else [], note=f"note {number}")
        found.append(LabelTarget(version=done.version, manifest=done.digest))
    return found


def where(store: Store, label: str = "stable") -> int:
    record = read_labels(store.open(), "xception")
    assert record is not None
    return record.labels[label].version


class Overtaken(Remote):
    """Lets something else happen right before its first new label record is written."""

    def __init__(self, store: Store, happens: Callable[[], object]) -> None:
        inner = store.open()
        super().__init__(inner._connect, inner.url)
        self._happens: Callable[[], object] | None = happens

    def put_create(self, path: str, data: bytes) -> None:
        if "/labels/" in path and (happens := self._happens):
            self._happens = None
            happens()
        super().put_create(path, data)


def test_every_change_is_told(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    set_label(remote, "xception", "canary", versions[3], note="one in ten")
    roll_back(remote, "xception", "stable", note="too slow")
    changes = read_history(remote, "xception")
    told = [
        (change.sequence, change.action, change.note, [(move.label, move.before, move.after) for move in change.moves])
        for change in changes
    ]
    one, two, three, four = versions
    assert told == [
        (1, "publish", "note 1", [("stable", None, one)]),
        (2, "publish", "note 2", [("stable", one, two)]),
        (3, "publish", "note 3", [("stable", two, three)]),
        (4, "label", "one in ten", [("canary", None, four)]),
        (5, "rollback", "too slow", [("stable", three, two)]),
    ]
    assert {change.by for change in changes} == {author()}
    assert [change.created for change in changes] == sorted(change.created for change in changes)


def test_no_history_yet(store: Store, small: Path) -> None:
    publish(small, store.open(), "xception")
    assert read_history(store.open(), "xception") == []
    with pytest.raises(NotFoundError, match="has no label 'stable'; it has: none"):
        roll_back(store.open(), "xception", "stable")


def test_rollbacks_go_further_back_and_never_forth(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    for before, after in ((3, 2), (2, 1)):
        done = roll_back(remote, "xception", "stable")
        assert (done.before, done.after) == (versions[before - 1], versions[after - 1])
        assert where(store) == after
    with pytest.raises(NotFoundError, match="nothing to go back to: there is no older position than version 1"):
        roll_back(remote, "xception", "stable")
    assert len(read_history(remote, "xception")) == 5
    with pytest.raises(NotFoundError, match="no label 'canary'; it has: stable"):
        roll_back(remote, "xception", "canary")


def test_what_was_rolled_back_is_not_gone_back_to(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    roll_back(remote, "xception", "stable")  # 1 2
    set_label(remote, "xception", "stable", versions[3])  # 1 2 4
    set_label(remote, "xception", "canary", versions[2])
    set_label(remote, "xception", "canary", versions[0])
    for after in (2, 1):
        assert roll_back(remote, "xception", "stable").after.version == after
    assert where(store, "canary") == 1


def test_a_label_that_went_back_by_hand_goes_on_from_there(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    set_label(remote, "xception", "stable", versions[1])  # 1 2 3 2
    for after in (3, 2, 1):
        assert roll_back(remote, "xception", "stable").after.version == after


def test_an_older_version_that_is_gone_is_refused(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    remote.delete(["xception/2/manifest.json"])
    with pytest.raises(NotFoundError, match=r"cannot go back to version 2: .*xception/2/manifest\.json: not found"):
        roll_back(remote, "xception", "stable")
    assert where(store) == 3


def test_an_older_version_that_was_changed_is_refused(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    remote.put_overwrite("xception/2/manifest.json", remote.get("xception/4/manifest.json", 10**6))
    with pytest.raises(IntegrityError, match=f"cannot go back to version 2: .*expected {versions[1].manifest}"):
        roll_back(remote, "xception", "stable")
    assert where(store) == 3


def test_a_history_with_a_hole_leads_nowhere(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    remote.delete(["xception/labels/000002.json"])
    with pytest.raises(IntegrityError, match=r"labels/000002\.json: missing"):
        roll_back(remote, "xception", "stable")
    assert where(store) == 3


def test_a_rollback_that_meets_a_change_of_the_same_label_gives_up(store: Store, versions: list[LabelTarget]) -> None:
    overtaken = Overtaken(store, lambda: set_label(store.open(), "xception", "stable", versions[3]))
    with pytest.raises(ConflictError, match="moved by another writer meanwhile, to version 4; nothing was rolled back"):
        roll_back(overtaken, "xception", "stable")
    assert where(store) == 4


def test_a_rollback_that_meets_another_label_goes_on(store: Store, versions: list[LabelTarget]) -> None:
    overtaken = Overtaken(store, lambda: set_label(store.open(), "xception", "canary", versions[3]))
    assert roll_back(overtaken, "xception", "stable").after == versions[1]
    assert (where(store), where(store, "canary")) == (2, 4)


def test_rollbacks_at_once_go_one_step(store: Store, versions: list[LabelTarget]) -> None:
    barrier = threading.Barrier(4, timeout=60)
    outcomes: list[str] = []

    def run() -> None:
        # All have seen version 3 before any of them writes.
        try:
            roll_back(Overtaken(store, barrier.wait), "xception", "stable")
            outcomes.append("done")
        except ConflictError:
            outcomes.append("gave up")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "gave up", "gave up", "gave up"]
    assert where(store) == 2


def test_a_label_that_was_taken_away_begins_anew(store: Store, versions: list[LabelTarget]) -> None:
    remote = store.open()
    set_label(remote, "xception", "canary", versions[3])
    assert remove_label(remote, "xception", "stable", note="served no more") == versions[2]
    record, change = read_labels(remote, "xception"), read_history(remote, "xception")[-1]
    assert record is not None
    assert record.labels == {"canary": versions[3]}
    assert (change.sequence, change.action, change.note) == (5, "unlabel", "served no more")
    assert [(move.label, move.before, move.after) for move in change.moves] == [("stable", versions[2], None)]
    for again in (roll_back, remove_label):
        with pytest.raises(NotFoundError, match="model 'xception' has no label 'stable'; it has: canary"):
            again(remote, "xception", "stable")
    set_label(remote, "xception", "stable", versions[0])
    with pytest.raises(NotFoundError, match="no older position than version 1"):
        roll_back(remote, "xception", "stable")
    set_label(remote, "xception", "stable", versions[1])
    assert roll_back(remote, "xception", "stable").after == versions[0]


def test_the_last_label_may_go(store: Store, small: Path) -> None:
    remote = store.open()
    publish(small, remote, "xception")
    with pytest.raises(NotFoundError, match="has no label 'stable'; it has: none"):
        remove_label(remote, "xception", "stable")
    publish(small, remote, "xception", labels=["stable"])
    assert remove_label(remote, "xception", "stable").version == 2
    with pytest.raises(NotFoundError, match="has no label 'stable'; it has: none"):
        remove_label(remote, "xception", "stable")
    record = read_labels(remote, "xception")
    assert record is not None
    assert (record.sequence, record.labels) == (2, {})


def test_a_label_that_moves_while_it_is_taken_away_is_gone(store: Store, versions: list[LabelTarget]) -> None:
    def move() -> None:
        set_label(store.open(), "xception", "stable", versions[3])
        set_label(store.open(), "xception", "canary", versions[3])

    assert remove_label(Overtaken(store, move), "xception", "stable") == versions[3]
    record = read_labels(store.open(), "xception")
    assert record is not None
    assert (record.sequence, record.labels) == (6, {"canary": versions[3]})


def test_only_one_of_two_takes_a_label_away(store: Store, versions: list[LabelTarget]) -> None:
    overtaken = Overtaken(store, lambda: remove_label(store.open(), "xception", "stable"))
    with pytest.raises(NotFoundError, match="no label 'stable'"):
        remove_label(overtaken, "xception", "stable")
    assert len(read_history(store.open(), "xception")) == 4


@pytest.mark.parametrize(("model", "label"), [("a/b", "stable"), ("xception", "3")])
def test_names(file_store: Store, model: str, label: str) -> None:
    for change in (roll_back, remove_label):
        with pytest.raises(UsageError):
            change(file_store.open(), model, label)
