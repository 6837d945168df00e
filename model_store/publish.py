"""From a folder to a new version in the store: check → claim → upload → manifest → labels.

Nothing exists before its manifest does, so an interrupted publish leaves no version, only a number that is
never used again.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .disk import disk_errors, token
from .errors import ConflictError, IntegrityError, StoreError, UsageError
from .labels import LabelTarget, set_labels
from .manifest import ManifestFile
from .names import check_label_name, check_model_name
from .progress import Advance, Progress, Silent
from .remote import Remote
from .verify import FileCheck, VerifiedModel, read_blocks, read_manifest, stray_files, verify_folder
from .versions import is_version_number, manifest_path, version_folders
from .workers import Stop, for_each

CLAIM_ATTEMPTS = 50
"""How many numbers are tried when other publishers take one after the other."""


@dataclass(frozen=True)
class Published:
    """A version that is in the store now."""

    model: str
    version: int
    digest: str
    labels: tuple[str, ...]


def publish(
    folder: Path,
    remote: Remote,
    model: str,
    *,
    labels: Sequence[str] = (),
    progress: Progress | None = None,
) -> Published:
    """Publish a folder as the next version of a model.

    Args:
        folder: Holds `manifest.json` and the files it lists, and nothing else.
        remote: The store.
        model: Name of the model; a new one is made by its first version.
        labels: Are pointed to the version once it is complete.
        progress: Shows how far it is.

    Raises:
        UsageError: A name cannot be meant, or the folder holds files that are not listed.
        NotFoundError: There is no such folder or manifest, or no such bucket.
        IntegrityError: A file is not what the manifest says, or changed while it was uploaded.
        ConflictError: Others kept taking the next number.
        StoreError: The store refused, or could not be reached.
    """
    check_model_name(model)
    for label in labels:
        check_label_name(label)
    progress = progress or Silent()
    with disk_errors(folder):
        verified, manifest_bytes = _checked(folder, progress)
        version = _claim(remote, model, verified.digest)
        _upload(verified, remote, model, version, progress)
    remote.put_create(manifest_path(model, version), manifest_bytes)
    target = LabelTarget(version=version, manifest=verified.digest)
    if labels:
        try:
            set_labels(remote, model, dict.fromkeys(labels, target))
        except StoreError as error:
            raise type(error)(
                f"{model}:{version} is published, but not labelled {', '.join(labels)}: {error}; "
                f"set it with: label {model}:{version} {labels[0]}"
            ) from error
    return Published(model, version, verified.digest, tuple(labels))


def _checked(folder: Path, progress: Progress) -> tuple[VerifiedModel, bytes]:
    manifest_bytes, manifest = read_manifest(folder)
    if strays := stray_files(folder, manifest):
        more = f" and {len(strays) - 5} more" if len(strays) > 5 else ""
        raise UsageError(
            f"{folder}: holds files that its manifest does not list: {', '.join(strays[:5])}{more}; "
            "remove them or package the folder again"
        )
    with progress.task(f"Checking {folder.name}", sum(file.size for file in manifest.files)) as advance:
        return verify_folder(folder, passed=advance), manifest_bytes


def _claim(remote: Remote, model: str, digest: str) -> int:
    """Reserve a version number for this publisher alone."""
    stems = [name.removesuffix(".json").lstrip("0") for name in remote.list_files(f"{model}/claims")]
    taken = [int(stem) for stem in stems if is_version_number(stem)]
    first = max([*taken, *version_folders(remote, model)], default=0) + 1
    claim = {
        "format": 1,
        "created": datetime.now(UTC).isoformat(),
        "manifest": digest,
        "publisher": f"{socket.gethostname()}-{token()}",
    }
    data = json.dumps(claim).encode() + b"\n"
    for version in range(first, first + CLAIM_ATTEMPTS):
        try:
            remote.put_create(f"{model}/claims/{version:06d}.json", data)
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


def _same_blocks(path: Path, promised: ManifestFile, stop: Stop, advance: Advance) -> Iterator[bytes]:
    """Yield the bytes of a file that was checked, and raise if they changed since."""
    check = FileCheck(promised, str(path))
    try:
        for block in read_blocks(path):
            stop.check()
            check.update(block)
            advance(len(block))
            yield block
        check.finish()
    except IntegrityError as error:
        raise IntegrityError(f"{error}; it changed while it was published, nothing was") from error
