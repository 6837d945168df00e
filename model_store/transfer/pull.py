"""Pull a version from the store: fetch → hash → rename; no unverified file becomes visible.

cache complete? ──yes──────────────────────────────────────────────────► verified
      │ no
manifest (digest) → signature → missing files (size, sha256) → rename folder ► verified

The next pull resumes an interrupted one: see `download.py`.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from model_store.catalog.fetch import (
    FetchedVersion,
    RemoteVersion,
    fetch_signature,
    fetch_version,
    fetch_with_signature,
)
from model_store.catalog.reference import Resolved
from model_store.disk import disk_errors, sync_folder, token, write_whole
from model_store.errors import ConflictError, DiskError, IntegrityError, NotFoundError, UsageError
from model_store.progress import Progress, Silent
from model_store.store.remote import Remote
from model_store.trust.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest, ManifestFile
from model_store.trust.signing import Trust
from model_store.trust.verify import (
    VerifiedModel,
    check_digest,
    check_file,
    chosen_files,
    read_manifest,
    read_signature,
)
from model_store.workers import Stop, for_each

from .cache import Cache, Select
from .download import download_files, file_blocks
from .ranges import Transfer

_ATTEMPTS = 3
"""A second attempt finds what another process finished meanwhile."""

_MOVED = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}
"""Errors of a rename when another process renamed the same folder first."""


def pull(
    remote: Remote,
    resolved: Resolved,
    cache: Cache,
    *,
    select: Select | None = None,
    progress: Progress | None = None,
    trust: Trust | None = None,
) -> VerifiedModel:
    """Pull a version into the cache and return the proof that its files are verified.

    Existing files, also of an interrupted pull, are hashed and only fetched again if they differ. The
    store is not contacted if the cache holds all required files.

    Args:
        remote: The store.
        resolved: The version, from `resolve` or `Cache.recall`.
        cache: The target.
        select: Selects the required files; all by default.
        progress: Shows the progress.
        trust: Whose signature it must have; by default none is required. The signature, if there is one, is kept
            beside the manifest either way.

    Raises:
        NotFoundError: The store holds no such version, or `select` returned a file that is not listed.
        IntegrityError: The manifest or a file has other bytes than expected; it does not become visible.
        SignatureError: The version was not signed with the trusted key; no file of it was fetched.
        ConflictError: Other processes kept changing the same entry.
        DiskError: The disk is full, or denies access.
        StoreError: The store denied access, or could not be reached.
    """
    progress = progress or Silent()
    if _seems_complete(cache, resolved, select):
        try:
            return cache.verified(resolved, select=select, trust=trust)
        except IntegrityError:
            pass  # a file is corrupt, or the signature is missing; it is fetched below
    with cache.lock(resolved):
        cache.sweep()
        for _ in range(_ATTEMPTS):
            try:
                with disk_errors(cache.root):
                    return _pull_once(remote, resolved, cache, select, progress, trust)
            except DiskError as error:
                if not _moved_by_another(error):
                    raise
    raise ConflictError(f"{cache.entry(resolved)}: other processes keep changing this entry; try again")


def pull_to_folder(
    remote: Remote,
    resolved: Resolved,
    output: Path,
    *,
    progress: Progress | None = None,
    trust: Trust | None = None,
) -> VerifiedModel:
    """Pull a whole version into a new folder, which appears once every file is verified.

    Raises:
        UsageError: `output` exists.
        StoreError: As for `pull`; nothing is left then.
    """
    output = output.absolute()
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output}: exists already; name a folder that does not")
    version = fetch_with_signature(remote, resolved, trust)
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        building = output.parent / f".{output.name}.{token()}.part"
        try:
            _write_metadata(version, building, building / ".parts" / token())
            download_files(version, version.manifest.files, building, building / ".parts", progress or Silent())
            shutil.rmtree(building / ".parts", ignore_errors=True)
            building.rename(output)
            sync_folder(output.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return _proof(resolved, version.manifest, output, version.manifest.files)


def check_remote(
    remote: Remote, resolved: Resolved, *, progress: Progress | None = None, trust: Trust | None = None
) -> Manifest:
    """Download and check every file of a version, keeping none.

    Raises:
        StoreError: As for `pull`.
    """
    version = fetch_version(remote, resolved, trust)
    total = sum(file.size for file in version.manifest.files)
    with (progress or Silent()).task(f"Checking {resolved}", total) as advance, Transfer(remote) as transfer:

        def check(expected: ManifestFile, stop: Stop) -> None:
            file_check = version.check(expected)
            for block in file_blocks(version, expected, transfer, stop):
                stop.check()
                file_check.update(block)
                advance(len(block))
            file_check.finish()

        for_each(version.manifest.files, check)
    return version.manifest


def _pull_once(
    remote: Remote,
    resolved: Resolved,
    cache: Cache,
    select: Select | None,
    progress: Progress,
    trust: Trust | None,
) -> VerifiedModel:
    entry, incoming = cache.entry(resolved), cache.incoming(resolved)
    home = incoming
    if entry.is_dir():
        home = entry
        shutil.rmtree(incoming, ignore_errors=True)  # left by a slower process
    known = _manifest_in(home, resolved)
    if known is None:
        fetched = fetch_with_signature(remote, resolved, trust)
        _write_metadata(fetched, home, cache.part())
        manifest = fetched.manifest
    else:
        manifest_bytes, manifest = known
        if trust and not _signature_holds(home, manifest_bytes, trust):
            signature = fetch_signature(remote, resolved, manifest_bytes, trust)
            _write_signature(signature, home, cache.part())
    chosen = chosen_files(manifest, select(manifest) if select else None)
    if missing := _missing(home, chosen):
        download_files(RemoteVersion(remote, resolved, manifest), missing, home, cache.parts, progress)
    if home == incoming:
        entry.parent.mkdir(parents=True, exist_ok=True)
        home.rename(entry)
        sync_folder(entry.parent)
    return _proof(resolved, manifest, entry, chosen)


def _seems_complete(cache: Cache, resolved: Resolved, select: Select | None) -> bool:
    """Compare names and sizes only, which saves hashing files that are hashed again under the lock.

    Raises:
        DiskError: Access to the cache is denied.
    """
    entry = cache.entry(resolved)
    with disk_errors(entry):
        there = entry.is_dir()
    if not there or (known := _manifest_in(entry, resolved)) is None:
        return False
    _, manifest = known
    chosen = chosen_files(manifest, select(manifest) if select else None)
    try:
        return all((entry / file.path).stat().st_size == file.size for file in chosen)
    except OSError:
        return False


def _manifest_in(home: Path, resolved: Resolved) -> tuple[bytes, Manifest] | None:
    """Return the manifest in a folder of the cache, or None if it has another digest."""
    try:
        data, manifest = read_manifest(home)
        check_digest(data, resolved.manifest_digest, str(home))
    except (OSError, NotFoundError, IntegrityError):
        return None
    return data, manifest


def _signature_holds(home: Path, manifest_bytes: bytes, trust: Trust) -> bool:
    try:
        trust.check(manifest_bytes, read_signature(home), str(home))
    except IntegrityError:
        return False
    return True


def _write_metadata(version: FetchedVersion, home: Path, part: Path) -> None:
    """Write the manifest and the signature."""
    write_whole(home / MANIFEST_NAME, [version.manifest_bytes], part)
    _write_signature(version.signature, home, part)


def _write_signature(signature: bytes | None, home: Path, part: Path) -> None:
    if signature is not None:
        write_whole(home / SIGNATURE_NAME, [signature], part)


def _missing(home: Path, chosen: Iterable[ManifestFile]) -> list[ManifestFile]:
    """Return the files that are missing or have other bytes."""

    def look(expected: ManifestFile, stop: Stop) -> ManifestFile | None:
        try:
            check_file(home, expected, lambda _: stop.check())
        except IntegrityError:
            return expected
        return None

    return [expected for expected in for_each(chosen, look) if expected is not None]


def _proof(resolved: Resolved, manifest: Manifest, root: Path, files: Iterable[ManifestFile]) -> VerifiedModel:
    return VerifiedModel(
        resolved.model,
        resolved.version,
        resolved.manifest_digest,
        manifest,
        root,
        frozenset(file.path for file in files),
    )


def _moved_by_another(error: DiskError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _MOVED
