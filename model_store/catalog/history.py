"""The history of a model's labels, and rollback.

The numbered records of `labels.py` are the history. A label's positions form a stack: pointing it to a version
pushes one, a rollback pops one. So a second rollback goes one further back, never forward. Removing the label clears
the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from model_store.errors import ConflictError, NotFoundError, StoreError
from model_store.store.remote import Remote

from .fetch import fetch_version
from .labels import LabelChange, LabelRecord, LabelTarget, append_record, read_labels, read_records
from .names import check_label_name, check_model_name
from .reference import Resolved

ROLLBACK = "rollback"
"""The action of records that pop a position; all others push one."""

UNLABEL = "unlabel"
"""The action of records that remove a label."""


@dataclass(frozen=True)
class Move:
    """A label that a record moved."""

    label: str
    before: LabelTarget | None
    """None for a label that was new."""
    after: LabelTarget | None
    """None for a label that was removed."""


@dataclass(frozen=True)
class Change:
    """The difference of a record from the one before it."""

    sequence: int
    created: datetime
    action: str | None
    by: str | None
    note: str | None
    moves: tuple[Move, ...]
    pruned: tuple[int, ...]
    """Versions that were marked as pruned."""


@dataclass(frozen=True)
class RolledBack:
    """The result of a rollback."""

    model: str
    label: str
    before: LabelTarget
    after: LabelTarget


def read_history(remote: Remote, model: str, newest: LabelRecord | None = None) -> list[Change]:
    """Return every change of a model's labels, the oldest first; none if it has no labels.

    Args:
        remote: The store.
        model: A model name.
        newest: The record to stop at; by default the current one.

    Raises:
        UsageError: `model` is not a model name.
        IntegrityError: A record is missing, not valid, or of another format.
        StoreError: The store denied access, or could not be reached.
    """
    check_model_name(model)
    newest = newest or read_labels(remote, model)
    if newest is None:
        return []
    records = read_records(remote, model, newest)
    return [_change(before, after) for before, after in zip([None, *records[:-1]], records, strict=True)]


def positions(history: Sequence[Change], label: str) -> list[LabelTarget]:
    """Return the positions of a label, the oldest first and the current one last."""
    stack: list[LabelTarget] = []
    for change in history:
        for move in change.moves:
            if move.label != label:
                continue
            if move.after is None:
                stack.clear()
            elif change.action == ROLLBACK and len(stack) > 1 and stack[-2] == move.after:
                stack.pop()
            else:
                stack.append(move.after)
    return stack


def roll_back(remote: Remote, model: str, label: str, *, note: str | None = None) -> RolledBack:
    """Point a label back to its previous version.

    That version must still be there, with the manifest that the label named then.

    Args:
        remote: The store.
        model: A model name.
        label: The label.
        note: The reason, for readers of the history.

    Raises:
        UsageError: A name is not valid, or the note is not one line of text.
        NotFoundError: There is no such label, nothing to go back to, or the older version is not there any more.
        IntegrityError: The older version was changed, or the history cannot be read.
        ConflictError: Another writer moved the label at the same time.
        StoreError: The store denied access, or could not be reached.
    """
    check_model_name(model)
    check_label_name(label)
    planned: RolledBack | None = None

    def decide(current: LabelRecord | None) -> LabelChange:
        nonlocal planned
        step = _step_back(remote, model, label, current)
        # The position to be undone has changed: to continue would undo another change.
        if planned is not None and step != planned:
            raise ConflictError(
                f"{model}:{label} was moved by another writer meanwhile, to version {step.before.version}; "
                f"nothing was rolled back: look at 'history {model}' and try again"
            )
        planned = step
        return LabelChange({label: step.after})

    append_record(remote, model, decide, action=ROLLBACK, note=note)
    assert planned is not None  # `decide` was called, or it raised
    return planned


def remove_label(remote: Remote, model: str, label: str, *, note: str | None = None) -> LabelTarget:
    """Remove a label and return its last target.

    Raises:
        UsageError: A name is not valid, or the note is not one line of text.
        NotFoundError: There is no such label.
        ConflictError: Others changed the labels each time that this change was tried.
        StoreError: The store denied access, or could not be reached.
    """
    check_label_name(label)
    last: LabelTarget | None = None

    def decide(current: LabelRecord | None) -> LabelChange:
        nonlocal last
        last = _target(remote, model, label, current)
        return LabelChange({}, removed=(label,))

    append_record(remote, model, decide, action=UNLABEL, note=note)
    assert last is not None  # as above
    return last


def _step_back(remote: Remote, model: str, label: str, current: LabelRecord | None) -> RolledBack:
    """Return where one rollback leads, once the version there is known to be good."""
    now = _target(remote, model, label, current)
    stack = positions(read_history(remote, model, current), label)
    if len(stack) < 2:
        raise NotFoundError(
            f"{model}:{label}: nothing to go back to: there is no older position than version "
            f"{now.version}; point it elsewhere with: label {model} {label} VERSION"
        )
    after = stack[-2]
    lead = f"{model}:{label} cannot go back to version {after.version}"
    if current and after.version in current.pruned:
        raise NotFoundError(f"{lead}: it was pruned; point it elsewhere with: label {model} {label} VERSION")
    try:
        fetch_version(remote, Resolved(model, after.version, after.manifest))
    except StoreError as error:
        raise type(error)(f"{lead}: {error}") from error
    return RolledBack(model, label, stack[-1], after)


def _target(remote: Remote, model: str, label: str, record: LabelRecord | None) -> LabelTarget:
    """Return the target of a label."""
    if record is None or label not in record.labels:
        there = ", ".join(sorted(record.labels)) if record else ""
        raise NotFoundError(f"{remote.url}: model '{model}' has no label '{label}'; it has: {there or 'none'}")
    return record.labels[label]


def _change(before: LabelRecord | None, after: LabelRecord) -> Change:
    was, now = (before.labels if before else {}), after.labels
    moves = tuple(
        Move(label, was.get(label), now.get(label))
        for label in sorted({*was, *now})
        if was.get(label) != now.get(label)
    )
    pruned = sorted(set(after.pruned) - set(before.pruned if before else ()))
    return Change(after.sequence, after.created, after.action, after.by, after.note, moves, tuple(pruned))
