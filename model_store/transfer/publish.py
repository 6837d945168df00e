"""Publish a folder as a new version: check → claim → upload → signature → manifest → labels.

A version exists once its manifest does, so an interrupted publish leaves no version, only a number that is never used
again, and files that `prune` deletes a day later. A signed version never exists without its signature.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model_store.catalog.author import author
from model_store.catalog.labels import LabelTarget, set_labels
from model_store.catalog.names import check_label_name, check_model_name, check_note
from model_store.catalog.versions import (
    claim_path,
    claimed_version,
    manifest_path,
    read_claim,
    read_manifest_bytes,
    signature_path,
    version_folders,
)
from model_store.disk import disk_errors, token
from model_store.errors import ConflictError, IntegrityError, SignatureError, StoreError, UsageError
from model_store.progress import Advance, Progress, Silent
from model_store.store.remote import Remote
from model_store.trust.manifest import SIGNATURE_NAME, ManifestFile, digest_of
from model_store.trust.signing import Signer, signed_digest
from model_store.trust.verify import (
    FileCheck,
    VerifiedModel,
    read_blocks,
    read_manifest,
    read_signature,
    unlisted_files,
    verify_folder,
)
from model_store.workers import Stop, for_each

CLAIM_ATTEMPTS = 50
"""Attempts to claim a number when other publishers take one after the other."""

_CLAIMS_COMPARED = 3
"""Number of the newest versions that are compared: a manifest published twice is mostly published in a row."""

TIME_LIMIT_S = 20 * 3600.0
"""A longer publish gives up: after a day `prune` deletes its files as those of an interrupted one."""


@dataclass(frozen=True)
class Published:
    """The result of a publish."""

    model: str
    version: int
    digest: str
    labels: tuple[str, ...]
    signed: bool = False
    same_as: int | None = None
    """One of the previous versions that has the same manifest, if any."""


def publish(
    folder: Path,
    remote: Remote,
    model: str,
    *,
    labels: Sequence[str] = (),
    note: str | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
) -> Published:
    """Publish a folder as the next version of a model.

    Args:
        folder: Holds `manifest.json`, the files it lists, and optionally `model.sig`: the signature of a pulled version
            is published with it, unless it is signed again.
        remote: The store.
        model: Name of the model; the first version creates it.
        labels: Labels to point to the version once it is complete.
        note: The reason, for readers of the history of the labels.
        signer: Signs the version.
        progress: Shows the progress.

    Raises:
        UsageError: A name is not valid, or the folder holds files that are not listed.
        NotFoundError: There is no such folder or manifest, or no such bucket.
        IntegrityError: A file differs from its entry in the manifest, or changed during the upload.
        SignatureError: The folder holds a signature of another manifest.
        ConflictError: Others kept claiming the next number, or it took longer than `TIME_LIMIT_S`.
        StoreError: The store denied access, or could not be reached.
    """
    check_model_name(model)
    for label in labels:
        check_label_name(label)
    check_note(note)
    progress = progress or Silent()
    with disk_errors(folder):
        verified, manifest_bytes = _checked(folder, progress)
        signature = _signature_in(folder, verified.digest) if signer is None else signer.sign(manifest_bytes, model)
        started = time.time()
        taken = _taken(remote, model)
        same_as = _same_as(remote, model, taken, verified.digest)
        version = _claim(remote, model, taken, verified.digest)
        _upload(verified, remote, model, version, progress)
    if signature is not None:
        remote.put_create(signature_path(model, version), signature)
    if time.time() - started > TIME_LIMIT_S:
        raise ConflictError(
            f"{model}:{version}: took more than {TIME_LIMIT_S / 3600:.0f} hours, so its files may have been taken for "
            "those of an interrupted publish and pruned; nothing was published, run the same again"
        )
    remote.put_create(manifest_path(model, version), manifest_bytes)
    target = LabelTarget(version=version, manifest=verified.digest)
    if labels:
        try:
            set_labels(remote, model, dict.fromkeys(labels, target), action="publish", note=note)
        except StoreError as error:
            raise type(error)(
                f"{model}:{version} is published, but not labelled {', '.join(labels)}: {error}; "
                f"set it with: label {model} {labels[0]} {version}"
            ) from error
    return Published(model, version, verified.digest, tuple(labels), signature is not None, same_as)


def _checked(folder: Path, progress: Progress) -> tuple[VerifiedModel, bytes]:
    manifest_bytes, manifest = read_manifest(folder)
    if strays := [path for path in unlisted_files(folder, manifest) if path != SIGNATURE_NAME]:
        more = f" and {len(strays) - 5} more" if len(strays) > 5 else ""
        raise UsageError(
            f"{folder}: holds files that its manifest does not list: {', '.join(strays[:5])}{more}; "
            "remove them or package the folder again"
        )
    with progress.task(f"Checking {folder.name}", sum(file.size for file in manifest.files)) as advance:
        return verify_folder(folder, passed=advance), manifest_bytes


def _signature_in(folder: Path, digest: str) -> bytes | None:
    """Return the signature in a folder if it covers this manifest; the signer is checked by readers."""
    path, signature = folder / SIGNATURE_NAME, read_signature(folder)
    if signature is None:
        return None
    if (found := signed_digest(signature, str(path))) != digest:
        raise SignatureError(f"{path}: is of another manifest, {found}; remove it, or sign again with --sign KEY")
    return signature


def _taken(remote: Remote, model: str) -> list[int]:
    """Return the version numbers that are claimed or used, in rising order."""
    claimed = {version for name in remote.list_files(f"{model}/claims") if (version := claimed_version(name))}
    return sorted(claimed.union(version_folders(remote, model)))


def _same_as(remote: Remote, model: str, taken: Sequence[int], digest: str) -> int | None:
    """Return the newest of the last versions that has this manifest, as a hint."""
    for version in reversed(taken[-_CLAIMS_COMPARED:]):
        try:
            if read_claim(remote, model, version).get("manifest") != digest:
                continue
            data = read_manifest_bytes(remote, model, version)  # a claim may be of an interrupted publish
        except StoreError:
            return None
        if data is not None and digest_of(data) == digest:
            return version
    return None


def _claim(remote: Remote, model: str, taken: Sequence[int], digest: str) -> int:
    """Reserve a version number for this publisher alone."""
    first = max(taken, default=0) + 1
    claim = {
        "format": 1,
        "created": datetime.now(UTC).isoformat(),
        "manifest": digest,
        # The token makes claims unique; two with the same bytes would count as one claim written twice.
        "publisher": f"{author()}-{token()}",
    }
    data = json.dumps(claim).encode() + b"\n"
    for version in range(first, first + CLAIM_ATTEMPTS):
        try:
            remote.put_create(claim_path(model, version), data)
        except ConflictError:
            continue
        return version
    raise ConflictError(f"{remote.url}/{model}: other publishers took {CLAIM_ATTEMPTS} numbers in a row; try again")


def _upload(verified: VerifiedModel, remote: Remote, model: str, version: int, progress: Progress) -> None:
    files = verified.manifest.files
    with progress.task(f"Publishing {model}:{version}", sum(file.size for file in files)) as advance:

        def upload(file: ManifestFile, stop: Stop) -> None:
            blocks = _same_blocks(verified.path(file.path), file, stop, advance)
            remote.upload(f"{model}/{version}/{file.path}", blocks, file.size)

        for_each(files, upload)


def _same_blocks(path: Path, expected: ManifestFile, stop: Stop, advance: Advance) -> Iterator[bytes]:
    """Yield the bytes of a checked file, and raise if they have changed since."""
    check = FileCheck(expected, str(path))
    try:
        for block in read_blocks(path):
            stop.check()
            check.update(block)
            advance(len(block))
            yield block
        check.finish()
    except IntegrityError as error:
        raise IntegrityError(f"{error}; it changed while it was published, nothing was") from error
