"""List models and versions, and locate their objects in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_store.errors import ManifestError
from model_store.store.remote import Remote
from model_store.trust.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME, Manifest, digest_of
from model_store.workers import Stop, for_each

from .labels import read_labels
from .names import check_model_name, is_model_name

MAX_DIGITS = 9
"""Maximum digits of a version number."""

MAX_CLAIM_BYTES = 2**16
"""A claim takes about 200 bytes."""


@dataclass(frozen=True)
class VersionInfo:
    """One version, as its manifest describes it."""

    version: int
    digest: str
    labels: tuple[str, ...]
    created: datetime | None
    size: int | None
    """Bytes of all its files."""
    accuracy: float | None
    problem: str | None = None
    """Why the manifest cannot be read; its fields are None then."""


def list_models(remote: Remote) -> list[str]:
    """Return the names of the models in the store, sorted.

    Raises:
        StoreError: The store denied access, or could not be reached.
    """
    return [name for name in remote.list_folders() if is_model_name(name)]


def version_folders(remote: Remote, model: str) -> list[int]:
    """Return the numbers of a model's version folders, finished or not, in rising order.

    Raises:
        StoreError: The store denied access, or could not be reached.
    """
    return sorted(int(name) for name in remote.list_folders(model) if is_version_number(name))


def is_version_number(text: str) -> bool:
    """Return whether `text` is a version number as folders are named: no sign, no leading zero."""
    return text.isascii() and text.isdecimal() and not text.startswith("0") and len(text) <= MAX_DIGITS


def manifest_path(model: str, version: int) -> str:
    """Return the path of a version's manifest in the store."""
    return f"{model}/{version}/{MANIFEST_NAME}"


def signature_path(model: str, version: int) -> str:
    """Return the path of a version's signature in the store."""
    return f"{model}/{version}/{SIGNATURE_NAME}"


def claim_path(model: str, version: int) -> str:
    """Return the path of the claim by which a publisher reserves a version number before it uploads."""
    return f"{model}/claims/{version:06d}.json"


def claimed_version(name: str) -> int | None:
    """Return the version number of a file in the claims folder, or None if it is not a claim."""
    stem = name.removesuffix(".json").lstrip("0")
    return int(stem) if is_version_number(stem) else None


def read_claim(remote: Remote, model: str, version: int) -> dict[str, Any]:
    """Return the claim of a version number; empty if none can be read.

    Raises:
        IntegrityError: It is larger than `MAX_CLAIM_BYTES`.
        StoreError: The store denied access, or could not be reached.
    """
    data = remote.get_if_exists(claim_path(model, version), MAX_CLAIM_BYTES)
    try:
        claim = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return claim if isinstance(claim, dict) else {}


def read_manifest_bytes(remote: Remote, model: str, version: int) -> bytes | None:
    """Return the bytes of a version's manifest, or None if the version does not exist.

    Raises:
        StoreError: The store denied access, or could not be reached.
    """
    return remote.get_if_exists(manifest_path(model, version), MAX_MANIFEST_BYTES)


def list_versions(remote: Remote, model: str) -> list[VersionInfo]:
    """Return the finished versions of a model, the oldest first; none if there is no such model.

    Raises:
        UsageError: `model` is not a model name.
        IntegrityError: The labels cannot be read.
        StoreError: The store denied access, or could not be reached.
    """
    check_model_name(model)
    folders = version_folders(remote, model)
    if not folders:
        return []
    record = read_labels(remote, model)

    def read(version: int, stop: Stop) -> VersionInfo | None:
        stop.check()
        data = read_manifest_bytes(remote, model, version)
        if data is None:
            return None
        return _describe(version, data, record.labels_of(version) if record else ())

    return [info for info in for_each(folders, read) if info is not None]


def missing_targets(remote: Remote, model: str, infos: Sequence[VersionInfo]) -> dict[str, int]:
    """Return the labels whose version is not in the store, with the version numbers.

    Args:
        remote: The store.
        model: A model name.
        infos: The versions that were listed; a version published since is not missing.

    Raises:
        IntegrityError: The labels cannot be read.
        StoreError: The store denied access, or could not be reached.
    """
    record = read_labels(remote, model)
    there = {info.version for info in infos}
    return {
        label: target.version
        for label, target in sorted(record.labels.items() if record else ())
        if target.version not in there and read_manifest_bytes(remote, model, target.version) is None
    }


def _describe(version: int, data: bytes, labels: tuple[str, ...]) -> VersionInfo:
    digest = digest_of(data)
    try:
        manifest = Manifest.parse(data)
    except ManifestError as error:
        return VersionInfo(version, digest, labels, None, None, None, problem=str(error))
    return VersionInfo(
        version,
        digest,
        labels,
        manifest.created,
        sum(file.size for file in manifest.files),
        manifest.evaluation.accuracy if manifest.evaluation else None,
    )
