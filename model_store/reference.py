"""References such as `xception`, `xception:3` and `xception:canary`, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import NotFoundError, UsageError
from .labels import read_labels
from .manifest import digest_of
from .names import DEFAULT_LABEL, check_label_name, check_model_name
from .remote import Remote
from .versions import is_version_number, list_models, list_versions, read_manifest_bytes

Selector = int | str
"""A version number, or a label."""


@dataclass(frozen=True)
class Reference:
    """A model, and which of its versions is meant."""

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
    """The label that led here, if one did."""

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


def parse_selector(text: str) -> Selector:
    """Read a version number or a label.

    Raises:
        UsageError: It is neither.
    """
    if is_version_number(text):
        return int(text)
    if text.isdecimal():
        raise UsageError(f"{text!r} is no version: versions are numbered from 1, without leading zeros")
    return check_label_name(text)


def parse_reference(text: str) -> Reference:
    """Read `NAME`, `NAME:VERSION` or `NAME:LABEL`; the label `stable` is meant where none is given.

    Raises:
        UsageError: It is none of them.
    """
    name, colon, selector = text.partition(":")
    check_model_name(name)
    return Reference(name, parse_selector(selector)) if colon else Reference(name)


def resolve(remote: Remote, model: str, selector: Selector = DEFAULT_LABEL) -> Resolved:
    """Return the version that a number or a label stands for now.

    Args:
        remote: The store.
        model: A model name.
        selector: A version number, as a number or as text, or a label.

    Raises:
        UsageError: The name or the selector cannot be meant.
        NotFoundError: There is no such model, version or label; the message lists what there is.
        StoreError: The store refused, or could not be reached.
    """
    check_model_name(model)
    wanted = parse_selector(str(selector))
    if isinstance(wanted, int):
        data = read_manifest_bytes(remote, model, wanted)
        if data is None:
            raise NotFoundError(_missing_version(remote, model, wanted))
        return Resolved(model, wanted, digest_of(data))
    record = read_labels(remote, model)
    target = record.labels.get(wanted) if record else None
    if target is None:
        raise NotFoundError(_missing_label(remote, model, wanted, sorted(record.labels) if record else []))
    return Resolved(model, target.version, target.manifest, wanted)


def _missing_version(remote: Remote, model: str, version: int) -> str:
    if (there := _versions(remote, model)) is None:
        return _missing_model(remote, model)
    return f"{remote.url}: model '{model}' has no version {version}; it has: {there}"


def _missing_label(remote: Remote, model: str, label: str, labels: list[str]) -> str:
    if labels:
        return f"{remote.url}: model '{model}' has no label '{label}'; it has: {', '.join(labels)}"
    if (there := _versions(remote, model)) is None:
        return _missing_model(remote, model)
    return f"{remote.url}: model '{model}' has no labels; name a version: {there}"


def _missing_model(remote: Remote, model: str) -> str:
    others = ", ".join(name for name in list_models(remote) if name != model) or "none"
    return f"{remote.url}: holds no model '{model}'; it holds: {others}"


def _versions(remote: Remote, model: str) -> str | None:
    return ", ".join(str(info.version) for info in list_versions(remote, model)) or None
