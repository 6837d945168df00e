"""Deletion of old versions: plan → give up → look again → manifest → files.

What goes is first given up in a label record, which settles every race with those who point labels: whoever
comes second at the number of the next record has to look again. Then, version by version, the manifest is
deleted, with which the version ceases to exist, and then its files. A prune that was interrupted is finished by
the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from model_store.errors import UsageError
from model_store.store.remote import Remote

from .history import positions, read_history
from .labels import LabelChange, LabelRecord, append_record, read_labels
from .names import check_model_name, check_note
from .versions import is_version_number, manifest_path, read_claim, read_manifest_bytes

LEFTOVER_AGE = timedelta(days=1)
"""Files without a manifest that are older were left by an interrupted publish; one in progress gives up before."""

_Stored = tuple[str, int, datetime]
"""Path of an object, its bytes, and when it was written."""


@dataclass(frozen=True)
class Doomed:
    """What is deleted of one version number."""

    version: int
    reason: Literal["old", "interrupted"]
    """Not among the newest and needed by no label; or left by an interrupted publish or prune."""
    paths: tuple[str, ...]
    """Objects in the store."""
    size: int
    """Bytes of them all."""


@dataclass(frozen=True)
class Kept:
    """A version that stays, and why."""

    version: int
    why: str
    labels: tuple[str, ...] = ()
    """Those that need it: it is kept no more once they are elsewhere, or taken away."""


@dataclass(frozen=True)
class Plan:
    """What a prune deletes or has deleted, and what it keeps; both in rising order."""

    model: str
    doomed: tuple[Doomed, ...]
    kept: tuple[Kept, ...]

    @property
    def size(self) -> int:
        """Return the bytes that are deleted."""
        return sum(doomed.size for doomed in self.doomed)


def plan_prune(remote: Remote, model: str, keep: int) -> Plan:
    """Say what a prune would delete, and delete nothing.

    Kept are the newest versions, every version that a label points to, and the one that a rollback of each label
    would go back to.

    Args:
        remote: The store.
        model: A model name.
        keep: How many of the newest versions stay; at least 1.

    Raises:
        UsageError: A name or a number cannot be meant, or the store cannot be listed.
        IntegrityError: The history of the labels cannot be read, so nobody knows what they need.
        StoreError: The store refused, or could not be reached.
    """
    check_model_name(model)
    if keep < 1:
        raise UsageError(f"--keep {keep}: at least the newest version stays, so give 1 or more")
    folders = _version_folders(remote, model)
    record = read_labels(remote, model)
    pruned = set(record.pruned) if record else set()
    needed = _needed(remote, model, record)
    finished = [
        version
        for version in sorted(folders)
        if any(path == manifest_path(model, version) for path, _, _ in folders[version])
    ]
    newest = [version for version in finished if version not in pruned][-keep:]
    doomed, kept = [], []
    for version in sorted(folders):
        if why := needed.get(version):
            kept.append(why)
        elif version in newest:
            kept.append(Kept(version, f"among the newest {keep}"))
        elif version in finished:
            doomed.append(_doomed(version, "old", folders[version]))
        elif version in pruned or _age(remote, model, version, folders[version]) > LEFTOVER_AGE:
            doomed.append(_doomed(version, "interrupted", folders[version]))
        else:
            kept.append(Kept(version, "being published, or interrupted less than a day ago"))
    return Plan(model, tuple(doomed), tuple(kept))


def prune(
    remote: Remote,
    model: str,
    keep: int,
    *,
    note: str | None = None,
    deleted: Callable[[Doomed], object] = lambda _: None,
) -> Plan:
    """Delete what `plan_prune` says, as far as nobody came to need it meanwhile, and return what was deleted.

    Args:
        remote: The store.
        model: A model name.
        keep: How many of the newest versions stay; at least 1.
        note: Why, for whoever reads the history of the labels.
        deleted: Told of each version number once nothing of it is left.

    Raises:
        StoreError: As for `plan_prune`; what was deleted by then is gone, the next prune finishes the rest.
    """
    check_note(note)
    plan = plan_prune(remote, model, keep)
    old = [doomed.version for doomed in plan.doomed if doomed.reason == "old"]

    def give_up(current: LabelRecord | None) -> LabelChange:
        needed = _needed(remote, model, current)
        return LabelChange({}, tuple(version for version in old if version not in needed))

    if old:
        append_record(remote, model, give_up, action="prune", note=note)
    done, kept = [], list(plan.kept)
    for doomed in plan.doomed:
        if why := _reprieve(remote, model, doomed):
            kept.append(why)
            continue
        manifest = manifest_path(model, doomed.version)
        if doomed.reason == "old":
            remote.delete([manifest])
        remote.delete([path for path in doomed.paths if path != manifest])
        deleted(doomed)
        done.append(doomed)
    return Plan(model, tuple(done), tuple(sorted(kept, key=lambda one: one.version)))


def _reprieve(remote: Remote, model: str, doomed: Doomed) -> Kept | None:
    """Look once more, right before the deletion, and return why it may not be, if so."""
    record = read_labels(remote, model)
    if record and (labels := record.labels_of(doomed.version)):
        return _pointed_to(doomed.version, labels)
    if doomed.reason == "old" and not (record and doomed.version in record.pruned):
        return Kept(doomed.version, "came to be needed meanwhile")
    if doomed.reason == "interrupted" and read_manifest_bytes(remote, model, doomed.version) is not None:
        return Kept(doomed.version, "was finished meanwhile")
    return None


def _needed(remote: Remote, model: str, record: LabelRecord | None) -> dict[int, Kept]:
    """Return the versions that labels need, by their numbers."""
    if record is None:
        return {}
    history = read_history(remote, model, record)
    back: dict[int, Kept] = {}
    for label in sorted(record.labels):
        if len(stack := positions(history, label)) > 1:
            version = stack[-2].version
            labels = (*back[version].labels, label) if version in back else (label,)
            back[version] = Kept(version, f"a rollback of {' or '.join(labels)} goes back to it", labels)
    versions = {target.version for target in record.labels.values()}
    return back | {version: _pointed_to(version, record.labels_of(version)) for version in versions}


def _pointed_to(version: int, labels: tuple[str, ...]) -> Kept:
    verb = "points" if len(labels) == 1 else "point"
    return Kept(version, f"{', '.join(labels)} {verb} to it", labels)


def _version_folders(remote: Remote, model: str) -> dict[int, list[_Stored]]:
    """Return what lies in each version's folder, finished or not."""
    folders: dict[int, list[_Stored]] = defaultdict(list)
    for stored in remote.list_all(f"{model}/"):
        _, _, below = stored[0].partition("/")
        folder, slash, _ = below.partition("/")
        if slash and is_version_number(folder):
            folders[int(folder)].append(stored)
    return dict(folders)


def _doomed(version: int, reason: Literal["old", "interrupted"], files: Sequence[_Stored]) -> Doomed:
    paths = tuple(sorted(path for path, _, _ in files))
    return Doomed(version, reason, paths, sum(size for _, size, _ in files))


def _age(remote: Remote, model: str, version: int, files: Sequence[_Stored]) -> timedelta:
    """Return how long ago an unfinished version was begun; where nothing says so, when it was last written to."""
    try:
        begun = datetime.fromisoformat(read_claim(remote, model, version)["created"])
        return datetime.now(UTC) - begun
    except (ValueError, KeyError, TypeError):
        return datetime.now(UTC) - max(written for _, _, written in files)
