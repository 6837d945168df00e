"""Parse and resolve references: `xception`, `xception:3`, `xception:canary`, `xception:sha256:…`.

A number or a label is resolved without a listing, and so is the digest of a version that a label points or pointed to.
They work with a store that cannot be listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model_store.errors import AccessDeniedError, IntegrityError, NotFoundError, StoreError, UsageError
from model_store.store.remote import Remote
from model_store.trust.manifest import digest_of, is_digest

from .labels import LabelRecord, LabelTarget, read_labels, read_records
from .names import DEFAULT_LABEL, check_label_name, check_model_name
from .versions import is_version_number, list_models, list_versions, read_manifest_bytes

Selector = int | str
"""A version number, a label, or the digest of a manifest as `digest_of` returns it."""

_DIGEST_PREFIX = "sha256:"


@dataclass(frozen=True)
class Reference:
    """A model and a selector of one of its versions."""

    model: str
    selector: Selector = DEFAULT_LABEL

    def __str__(self) -> str:
        return f"{self.model}:{self.selector}"


@dataclass(frozen=True)
class Resolved:
    """One version of a model, pinned by the digest of its manifest."""

    model: str
    version: int
    manifest_digest: str
    label: str | None = None
    """The label that was resolved, if it was one."""

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


def parse_selector(text: str) -> Selector:
    """Parse a version number, a label, or the digest of a manifest.

    Raises:
        UsageError: It is none of them.
    """
    if is_version_number(text):
        return int(text)
    if text.isdecimal():
        raise UsageError(f"{text!r} is not a version: versions are numbered from 1, without leading zeros")
    if text.startswith(_DIGEST_PREFIX):
        if not is_digest(text):
            raise UsageError(f"{text!r} is not a digest of a manifest: 'sha256:' and 64 of the digits 0-9 and a-f")
        return text
    return check_label_name(text)


def parse_reference(text: str) -> Reference:
    """Parse `NAME`, `NAME:VERSION`, `NAME:LABEL` or `NAME:sha256:…`; the default label is `stable`.

    Raises:
        UsageError: It is none of them.
    """
    name, colon, selector = text.partition(":")
    check_model_name(name)
    return Reference(name, parse_selector(selector)) if colon else Reference(name)


def resolve(remote: Remote, model: str, selector: Selector = DEFAULT_LABEL) -> Resolved:
    """Return the version that a number, a label or a digest refers to now.

    Args:
        remote: The store.
        model: A model name.
        selector: A version number, as a number or as text, a label, or the digest of a manifest.

    Raises:
        UsageError: The name or the selector is not valid.
        NotFoundError: There is no such model, version or label; the message lists what there is.
        StoreError: The store denied access, or could not be reached.
    """
    check_model_name(model)
    wanted = parse_selector(str(selector))
    if isinstance(wanted, int):
        data = read_manifest_bytes(remote, model, wanted)
        if data is None:
            raise NotFoundError(_missing_version(remote, model, wanted))
        return Resolved(model, wanted, digest_of(data))
    record = read_labels(remote, model)
    if is_digest(wanted):
        return _with_digest(remote, model, wanted, record)
    target = record.labels.get(wanted) if record else None
    if target is None:
        raise NotFoundError(_missing_label(remote, model, wanted, sorted(record.labels) if record else []))
    return Resolved(model, target.version, target.manifest, wanted)


def _with_digest(remote: Remote, model: str, digest: str, record: LabelRecord | None) -> Resolved:
    """Find a version by its digest: among current labels, former labels, then all versions."""
    if record:
        if target := _target_with(digest, record):
            return Resolved(model, target.version, digest)
        for older in reversed(_older_records(remote, model, record)):
            target = _target_with(digest, older)
            if target and _is_there(remote, model, target):
                return Resolved(model, target.version, digest)
    try:
        infos = list_versions(remote, model)
    except (UsageError, AccessDeniedError) as error:
        raise NotFoundError(
            f"{remote.url}: no label of model '{model}' ever pointed to {digest}, and the versions could not be "
            f"listed to look further: {error}"
        ) from error
    for info in reversed(infos):
        if info.digest == digest:
            return Resolved(model, info.version, digest)
    if not infos:
        raise NotFoundError(_missing_model(remote, model))
    there = ", ".join(f"{info.version} ({info.digest[: len(_DIGEST_PREFIX) + 12]}…)" for info in infos)
    raise NotFoundError(f"{remote.url}: model '{model}' has no version with the manifest {digest}; it has: {there}")


def _target_with(digest: str, record: LabelRecord) -> LabelTarget | None:
    return next((target for target in record.labels.values() if target.manifest == digest), None)


def _older_records(remote: Remote, model: str, record: LabelRecord) -> list[LabelRecord]:
    """Return the records before `record`, or none if they cannot be read; they only save a listing."""
    try:
        return read_records(remote, model, record)[:-1]
    except (IntegrityError, AccessDeniedError):
        return []


def _is_there(remote: Remote, model: str, target: LabelTarget) -> bool:
    """Return whether a version that a label once pointed to is still there, unchanged."""
    try:
        data = read_manifest_bytes(remote, model, target.version)
    except AccessDeniedError:
        return False  # how a store answers for a missing object, to a reader who may not list
    return data is not None and digest_of(data) == target.manifest


def _missing_version(remote: Remote, model: str, version: int) -> str:
    missing = f"{remote.url}: model '{model}' has no version {version}"
    return _with_hint(missing, lambda: _missing(remote, model, f"{missing}; it has: "))


def _missing_label(remote: Remote, model: str, label: str, labels: list[str]) -> str:
    if labels:
        return f"{remote.url}: model '{model}' has no label '{label}'; it has: {', '.join(labels)}"
    missing = f"{remote.url}: model '{model}' has no labels"
    return _with_hint(missing, lambda: _missing(remote, model, f"{missing}; name a version: "))


def _missing_model(remote: Remote, model: str) -> str:
    def hint() -> str:
        others = ", ".join(name for name in list_models(remote) if name != model) or "none"
        return f"{missing}; it holds: {others}"

    missing = f"{remote.url}: holds no model '{model}'"
    return _with_hint(missing, hint)


def _missing(remote: Remote, model: str, lead: str) -> str:
    versions = ", ".join(str(info.version) for info in list_versions(remote, model))
    return lead + versions if versions else _missing_model(remote, model)


def _with_hint(missing: str, hinted: Callable[[], str]) -> str:
    """Return the message with the alternatives, or without if the store cannot be listed."""
    try:
        return hinted()
    except StoreError:
        return missing
