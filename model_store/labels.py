"""Labels of a model: names such as `stable` that point to versions.

Each change is a new numbered record that is never written over; the record with the highest number holds.
`labels.json` beside them is a copy that only says where to begin looking, so it may be lost or late.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from .errors import ConflictError, IntegrityError
from .names import check_label_name, check_model_name
from .remote import Remote

FORMAT: Final = 1
"""The format of records that this release writes, and the only one it reads."""

MAX_RECORD_BYTES = 2**20
"""A record of a dozen labels takes about 1 kB."""

ATTEMPTS = 20
"""How often a change is applied anew because another writer took the next number."""


class LabelTarget(BaseModel):
    """What a label points to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1)]
    manifest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of the version's manifest."""


class LabelRecord(BaseModel):
    """All labels of a model at one time."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = FORMAT
    created: AwareDatetime
    labels: Mapping[str, LabelTarget]
    sequence: Annotated[int, Field(ge=0)] = 0
    """The record's number; stands in its name, and in the copy."""

    def labels_of(self, version: int) -> tuple[str, ...]:
        """Return the labels that point to `version`, sorted."""
        return tuple(sorted(label for label, target in self.labels.items() if target.version == version))


def read_labels(remote: Remote, model: str) -> LabelRecord | None:
    """Return the labels that hold now, or None if the model has none yet.

    Raises:
        UsageError: `model` is no model name.
        IntegrityError: A record is not valid, or of another format.
        StoreError: The store refused, or could not be reached.
    """
    check_model_name(model)
    hint = _hinted_sequence(remote, model)
    newest = _read_record(remote, model, hint) if hint else None
    if newest is None:
        newest = _read_record(remote, model, 1)
    while newest is not None:
        following = _read_record(remote, model, newest.sequence + 1)
        if following is None:
            break
        newest = following
    return newest


def set_label(remote: Remote, model: str, label: str, target: LabelTarget) -> LabelRecord:
    """Point one label to a version and return the record that says so.

    Raises:
        StoreError: As for `set_labels`.
    """
    return set_labels(remote, model, {label: target})


def set_labels(remote: Remote, model: str, targets: Mapping[str, LabelTarget]) -> LabelRecord:
    """Point labels to versions, all in one record; the other labels stay as they are.

    Raises:
        UsageError: The model or a label may not be called so.
        ConflictError: Others changed the labels each time that this change was tried.
        StoreError: The store refused, or could not be reached.
    """
    for label in targets:
        check_label_name(label)
    for _ in range(ATTEMPTS):
        current = read_labels(remote, model)
        record = LabelRecord(
            created=datetime.now(UTC),
            labels={**(current.labels if current else {}), **targets},
            sequence=(current.sequence if current else 0) + 1,
        )
        data = record.model_dump_json(exclude={"sequence"}).encode() + b"\n"
        try:
            remote.put_create(_record_path(model, record.sequence), data)
        except ConflictError:
            continue
        remote.put_overwrite(_copy_path(model), record.model_dump_json().encode() + b"\n")
        return record
    raise ConflictError(f"{remote.url}/{model}: the labels were changed by others {ATTEMPTS} times in a row; try again")


def _hinted_sequence(remote: Remote, model: str) -> int:
    """Return the number in the copy, or 0 where the copy is missing or says nothing."""
    data = remote.get_if_exists(_copy_path(model), MAX_RECORD_BYTES)
    try:
        sequence = json.loads(data or b"{}")["sequence"]
    except (ValueError, KeyError, TypeError):
        return 0
    return sequence if type(sequence) is int and sequence > 0 else 0


def _read_record(remote: Remote, model: str, sequence: int) -> LabelRecord | None:
    path = _record_path(model, sequence)
    data = remote.get_if_exists(path, MAX_RECORD_BYTES)
    if data is None:
        return None
    try:
        document = json.loads(data)
    except ValueError as error:
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


def _copy_path(model: str) -> str:
    return f"{model}/labels.json"
