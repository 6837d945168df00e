"""Deletion of old versions: plan → mark → check again → delete manifest → delete files.

The versions are first marked as pruned in a label record, which decides every race with writers of labels: the second
to take the number of the next record has to look again. Then, version by version, the manifest is deleted, which ends
the version, and then its files. An interrupted prune is finished by the next one.
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
"""Older files without a manifest were left by an interrupted publish; one in progress gives up before."""

_Stored = tuple[str, int, datetime]
"""Path of an object, its bytes, and when it was written."""


@dataclass(frozen=True)
class PruneCandidate:
    """The objects to delete of one version number."""

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
    """The labels that need it; it is kept until they are moved or removed."""


@dataclass(frozen=True)
class Plan:
    """The versions that a prune deletes or has deleted, and those it keeps, in rising order."""

    model: str
    candidates: tuple[PruneCandidate, ...]
    kept: tuple[Kept, ...]

    @property
    def size(self) -> int:
        """Return the number of bytes to delete."""
        return sum(candidate.size for candidate in self.candidates)


def plan_prune(remote: Remote, model: str, keep: int) -> Plan:
    """Return what a prune would delete.

    Kept are the newest versions, every version that a label points to, and the one that a rollback of each label
    would go back to.

    Args:
        remote: The store.
        model: A model name.
        keep: How many of the newest versions stay; at least 1.

    Raises:
        UsageError: A name or a number is not valid, or the store cannot be listed.
        IntegrityError: The history of the labels cannot be read, so the versions they need are unknown.
        StoreError: The store denied access, or could not be reached.
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
    candidates, kept = [], []
    for version in sorted(folders):
        if why := needed.get(version):
            kept.append(why)
        elif version in newest:
            kept.append(Kept(version, f"among the newest {keep}"))
        elif version in finished:
            candidates.append(_candidate(version, "old", folders[version]))
        elif version in pruned or _age(remote, model, version, folders[version]) > LEFTOVER_AGE:
            candidates.append(_candidate(version, "interrupted", folders[version]))
        else:
            kept.append(Kept(version, "being published, or interrupted less than a day ago"))
    return Plan(model, tuple(candidates), tuple(kept))


def prune(
    remote: Remote,
    model: str,
    keep: int,
    *,
    note: str | None = None,
    deleted: Callable[[PruneCandidate], object] = lambda _: None,
) -> Plan:
    """Delete what `plan_prune` returns, unless it is needed meanwhile, and return what was deleted.

    Args:
        remote: The store.
        model: A model name.
        keep: How many of the newest versions stay; at least 1.
        note: The reason, for readers of the history of the labels.
        deleted: Called for each version number once all its objects are deleted.

    Raises:
        StoreError: As for `plan_prune`; what was deleted by then is gone, the next prune finishes the rest.
    """
    check_note(note)
    plan = plan_prune(remote, model, keep)
    old = [candidate.version for candidate in plan.candidates if candidate.reason == "old"]

    def mark(current: LabelRecord | None) -> LabelChange:
        needed = _needed(remote, model, current)
        return LabelChange({}, tuple(version for version in old if version not in needed))

    if old:
        append_record(remote, model, mark, action="prune", note=note)
    done, kept = [], list(plan.kept)
    for candidate in plan.candidates:
        if why := _still_needed(remote, model, candidate):
            kept.append(why)
            continue
        manifest = manifest_path(model, candidate.version)
        if candidate.reason == "old":
            remote.delete([manifest])
        remote.delete([path for path in candidate.paths if path != manifest])
        deleted(candidate)
        done.append(candidate)
    return Plan(model, tuple(done), tuple(sorted(kept, key=lambda one: one.version)))


def _still_needed(remote: Remote, model: str, candidate: PruneCandidate) -> Kept | None:
    """Check once more, right before the deletion, and return the reason to keep the version, if any."""
    record = read_labels(remote, model)
    if record and (labels := record.labels_of(candidate.version)):
        return _pointed_to(candidate.version, labels)
    if candidate.reason == "old" and not (record and candidate.version in record.pruned):
        return Kept(candidate.version, "came to be needed meanwhile")
    if candidate.reason == "interrupted" and read_manifest_bytes(remote, model, candidate.version) is not None:
        return Kept(candidate.version, "was finished meanwhile")
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
    """Return the objects in each version's folder, finished or not."""
    folders: dict[int, list[_Stored]] = defaultdict(list)
    for stored in remote.list_all(f"{model}/"):
        _, _, below = stored[0].partition("/")
        folder, slash, _ = below.partition("/")
        if slash and is_version_number(folder):
            folders[int(folder)].append(stored)
    return dict(folders)


def _candidate(version: int, reason: Literal["old", "interrupted"], files: Sequence[_Stored]) -> PruneCandidate:
    paths = tuple(sorted(path for path, _, _ in files))
    return PruneCandidate(version, reason, paths, sum(size for _, size, _ in files))


def _age(remote: Remote, model: str, version: int, files: Sequence[_Stored]) -> timedelta:
    """Return the time since an unfinished version was begun, or else since it was last written to."""
    try:
        begun = datetime.fromisoformat(read_claim(remote, model, version)["created"])
        return datetime.now(UTC) - begun
    except (ValueError, KeyError, TypeError):
        return datetime.now(UTC) - max(written for _, _, written in files)
