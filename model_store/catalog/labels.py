"""Labels of a model: names such as `stable` that point to versions.

Each change is a new numbered record that is never overwritten; the record with the highest number is current.
`labels.json` beside them is a copy that only tells where to start looking, so it may be missing or outdated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from model_store.errors import AccessDeniedError, ConflictError, IntegrityError, NotFoundError, StoreError
from model_store.store.remote import Remote
from model_store.workers import Stop, for_each

from .author import author
from .names import check_label_name, check_model_name, check_note

FORMAT: Final = 1
"""The format of records that this release writes, and the only one it reads."""

MAX_RECORD_BYTES = 2**20
"""A record of a dozen labels takes about 1 kB."""

_MAX_SEQUENCE = 10**9
"""Maximum number of a record."""

ATTEMPTS = 20
"""Attempts to apply a change when other writers take the next number."""


class LabelTarget(BaseModel):
    """The target of a label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1, lt=10**9)]
    manifest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of the version's manifest."""


class LabelRecord(BaseModel):
    """All labels of a model at one time, and the change that led there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = FORMAT
    created: AwareDatetime
    action: str | None = None
    """The change: `label`, `unlabel`, `publish`, `rollback` or `prune`; None in records of the first release."""
    by: str | None = None
    """The author as `user@host`, as stated by the writer; not authenticated."""
    note: str | None = None
    labels: Mapping[str, LabelTarget]
    pruned: tuple[int, ...] = ()
    """Versions that were marked as pruned, in rising order; no label may be pointed to them.

    Written before the first of their files is deleted, and kept in every later record. So a writer that points a label
    to a version and one that deletes it compete for the number of the next record, and one of them must look again.
    """
    sequence: Annotated[int, Field(ge=0)] = 0
    """The record's number; part of its name, and of the copy."""

    def labels_of(self, version: int) -> tuple[str, ...]:
        """Return the labels that point to `version`, sorted."""
        return tuple(sorted(label for label, target in self.labels.items() if target.version == version))


@dataclass(frozen=True)
class LabelChange:
    """The changes of a new record."""

    targets: Mapping[str, LabelTarget]
    """New targets of labels; the other labels stay."""
    pruned: tuple[int, ...] = ()
    """Versions to mark as pruned."""
    removed: tuple[str, ...] = ()
    """Labels to remove."""


def read_labels(remote: Remote, model: str) -> LabelRecord | None:
    """Return the current labels, or None if the model has none yet.

    Raises:
        UsageError: `model` is not a model name.
        IntegrityError: A record is not valid, or of another format.
        StoreError: The store denied access, or could not be reached.
    """
    check_model_name(model)
    try:
        copy = remote.get_if_exists(copy_path(model), MAX_RECORD_BYTES)
    except AccessDeniedError:
        copy = None  # missing, to a reader who may not list; if access is denied, the next request fails
    return newest_record(remote, model, [sequence_in(copy or b"")])


def read_records(remote: Remote, model: str, newest: LabelRecord) -> list[LabelRecord]:
    """Return every record up to `newest`, the oldest first.

    Raises:
        IntegrityError: A record is missing, not valid, or of another format.
        StoreError: The store denied access, or could not be reached.
    """

    def read(sequence: int, stop: Stop) -> LabelRecord:
        stop.check()
        record = _read_record(remote, model, sequence)
        if record is None:
            raise IntegrityError(
                f"{remote.url}/{_record_path(model, sequence)}: missing, so the history of the labels is not known"
            )
        return record

    return [*for_each(range(1, newest.sequence), read), newest]


def set_label(
    remote: Remote, model: str, label: str, target: LabelTarget, *, action: str = "label", note: str | None = None
) -> LabelRecord:
    """Point one label to a version and return the record.

    Raises:
        StoreError: As for `set_labels`.
    """
    return set_labels(remote, model, {label: target}, action=action, note=note)


def set_labels(
    remote: Remote,
    model: str,
    targets: Mapping[str, LabelTarget],
    *,
    action: str = "label",
    note: str | None = None,
) -> LabelRecord:
    """Point labels to versions, all in one record; the other labels stay as they are.

    If they point there already, no record is written.

    Args:
        remote: The store.
        model: A model name.
        targets: The new target of each label.
        action: The action in the record.
        note: The reason, for readers of the history.

    Raises:
        UsageError: The name of the model or of a label is not valid, or the note is not one line of text.
        NotFoundError: A version was pruned.
        ConflictError: Others changed the labels each time that this change was tried.
        StoreError: The store denied access, or could not be reached.
    """
    for label in targets:
        check_label_name(label)
    return append_record(remote, model, lambda _: LabelChange(targets), action=action, note=note)


def append_record(
    remote: Remote,
    model: str,
    decide: Callable[[LabelRecord | None], LabelChange],
    *,
    action: str,
    note: str | None = None,
) -> LabelRecord:
    """Write the next record; decide again whenever another writer takes its number first.

    Args:
        remote: The store.
        model: A model name.
        decide: Takes the current record and returns the change; may raise to cancel.
        action: The action in the record.
        note: The reason, for readers of the history.

    Returns:
        The new record, or the current one if nothing changes.

    Raises:
        StoreError: As for `set_labels`, and what `decide` raises.
    """
    check_note(note)
    for _ in range(ATTEMPTS):
        current = read_labels(remote, model)
        change = decide(current)
        labels = dict(current.labels) if current else {}
        pruned = set(current.pruned) if current else set()
        for label, target in change.targets.items():
            if target.version in pruned and labels.get(label) != target:
                raise NotFoundError(f"{model}:{target.version} was pruned, so the label '{label}' cannot point to it")
        after, given_up = {**labels, **change.targets}, pruned | set(change.pruned)
        for label in change.removed:
            after.pop(label, None)
        if current and (after, given_up) == (labels, pruned):
            return current
        record = LabelRecord(
            created=datetime.now(UTC),
            action=action,
            by=author(),
            note=note,
            labels=after,
            pruned=tuple(sorted(given_up)),
            sequence=(current.sequence if current else 0) + 1,
        )
        try:
            remote.put_create(_record_path(model, record.sequence), _to_bytes(record, exclude={"sequence"}))
        except ConflictError:
            continue
        _renew_copy(remote, model, record)
        return record
    raise ConflictError(f"{remote.url}/{model}: the labels were changed by others {ATTEMPTS} times in a row; try again")


def _renew_copy(remote: Remote, model: str, record: LabelRecord) -> None:
    """Write the copy; a failure is ignored, since the record is already valid."""
    try:
        remote.put_overwrite(copy_path(model), _to_bytes(record))
    except StoreError:
        return


def _to_bytes(record: LabelRecord, exclude: Iterable[str] = ()) -> bytes:
    unsaid = set(exclude) | (set() if record.pruned else {"pruned"})
    return record.model_dump_json(exclude=unsaid, exclude_none=True).encode() + b"\n"


def newest_record(remote: Remote, model: str, hints: Iterable[int]) -> LabelRecord | None:
    """Return the record with the highest number, found from the first hint that leads to one."""
    for hint in hints:
        if hint and (record := _record_if_readable(remote, model, hint)):
            return last_from(remote, record, model)
    first = _read_record(remote, model, 1)
    return last_from(remote, first, model) if first else None


def last_from(remote: Remote, record: LabelRecord, model: str) -> LabelRecord:
    """Return the record with the highest number, found from `record` on."""
    while following := _record_if_readable(remote, model, record.sequence + 1):
        record = following
    return record


def _record_if_readable(remote: Remote, model: str, sequence: int) -> LabelRecord | None:
    """Return a record, or None; a store denies access to a missing object if the reader may not list."""
    try:
        return _read_record(remote, model, sequence)
    except AccessDeniedError:
        return None


def sequence_in(copy: bytes) -> int:
    """Return the number in the copy, or 0 if it has none."""
    try:
        sequence = json.loads(copy)["sequence"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return sequence if type(sequence) is int and 0 < sequence <= _MAX_SEQUENCE else 0


def _read_record(remote: Remote, model: str, sequence: int) -> LabelRecord | None:
    path = _record_path(model, sequence)
    data = remote.get_if_exists(path, MAX_RECORD_BYTES)
    if data is None:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{remote.url}/{path} is not JSON: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise IntegrityError(f"{remote.url}/{path} has format {found!r}; this release reads format {FORMAT} only")
    try:
        return LabelRecord.model_validate({**document, "sequence": sequence})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise IntegrityError(f"{remote.url}/{path} is not valid: {where}: {first['msg']}") from error


def _record_path(model: str, sequence: int) -> str:
    return f"{model}/labels/{sequence:06d}.json"


def copy_path(model: str) -> str:
    """Return the path of the copy of the newest record in the store."""
    return f"{model}/labels.json"
