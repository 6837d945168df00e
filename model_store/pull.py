"""From the store to the local disk: fetch → hash → rename; nothing unverified gets a name.

cache complete? ──yes──────────────────────────────────────────► verified
      │ no
manifest (digest) → missing files (size, sha256) → rename folder ► verified
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from .cache import Cache, Select
from .disk import check_room, disk_errors, sync_folder, token, write_whole
from .errors import ConflictError, DiskError, IntegrityError, NotFoundError, UsageError
from .fetch import RemoteVersion, fetch_version
from .manifest import MANIFEST_NAME, Manifest, ManifestFile
from .progress import Advance, Progress, Silent
from .reference import Resolved
from .remote import Remote
from .verify import VerifiedModel, check_digest, check_file, chosen_files, read_manifest
from .workers import Stop, for_each

_ATTEMPTS = 3
"""A second one meets what another puller finished meanwhile."""

_MOVED = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}
"""What renames say when another puller renamed the same folder first."""


def pull(
    remote: Remote,
    resolved: Resolved,
    cache: Cache,
    *,
    select: Select | None = None,
    progress: Progress | None = None,
) -> VerifiedModel:
    """Bring a version into the cache and return the proof that its files are the promised ones.

    What is there already, also from an interrupted pull, is hashed and not fetched again; a file with other
    bytes is. If the cache holds all that is needed, the store is not asked.

    Args:
        remote: The store.
        resolved: The version, as `resolve` or `Cache.recall` return it.
        cache: Where it goes.
        select: Chooses the files that are needed; all by default.
        progress: Shows how far it is.

    Raises:
        NotFoundError: The store holds no such version, or `select` chose a file that is not listed.
        IntegrityError: Manifest or file are not what was promised; nothing of them is visible.
        ConflictError: Other processes kept moving the same entry.
        DiskError: The disk is full, or refuses.
        StoreError: The store refused, or could not be reached.
    """
    progress = progress or Silent()
    if _seems_complete(cache, resolved, select):
        try:
            return cache.verified(resolved, select=select)
        except IntegrityError:
            pass  # a file in the cache went bad; it is found again and fetched below
    with cache.lock(resolved):
        cache.sweep()
        for _ in range(_ATTEMPTS):
            try:
                with disk_errors(cache.root):
                    return _pull_once(remote, resolved, cache, select, progress)
            except DiskError as error:
                if not _moved_by_another(error):
                    raise
    raise ConflictError(f"{cache.entry(resolved)}: other processes keep changing this entry; try again")


def pull_to_folder(
    remote: Remote, resolved: Resolved, output: Path, *, progress: Progress | None = None
) -> VerifiedModel:
    """Fetch a whole version into a new folder, which appears only when every file in it is verified.

    Raises:
        UsageError: `output` exists.
        StoreError: As for `pull`.
    """
    output = output.absolute()
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output}: exists already; name a folder that does not")
    version = fetch_version(remote, resolved)
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        building = output.parent / f".{output.name}.{token()}.part"
        try:
            write_whole(building / MANIFEST_NAME, [version.manifest_bytes], building / token())
            _fetch_files(version, version.manifest.files, building, building / ".parts", progress or Silent())
            shutil.rmtree(building / ".parts", ignore_errors=True)
            building.rename(output)
            sync_folder(output.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return _proof(resolved, version.manifest, output, version.manifest.files)


def check_remote(remote: Remote, resolved: Resolved, *, progress: Progress | None = None) -> Manifest:
    """Download every file of a version and check it, keeping none.

    Raises:
        StoreError: As for `pull`.
    """
    version = fetch_version(remote, resolved)
    total = sum(file.size for file in version.manifest.files)
    with (progress or Silent()).task(f"Checking {resolved}", total) as advance:

        def check(promised: ManifestFile, stop: Stop) -> None:
            for _ in version.blocks(promised, stop, advance):
                pass

        for_each(version.manifest.files, check)
    return version.manifest


def _pull_once(
    remote: Remote, resolved: Resolved, cache: Cache, select: Select | None, progress: Progress
) -> VerifiedModel:
    entry, incoming = cache.entry(resolved), cache.incoming(resolved)
    home = incoming
    if entry.is_dir():
        home = entry
        shutil.rmtree(incoming, ignore_errors=True)  # of a puller that was overtaken
    manifest = _manifest_in(home, resolved)
    version: RemoteVersion | None = None
    if manifest is None:
        version = fetch_version(remote, resolved)
        manifest = version.manifest
        write_whole(home / MANIFEST_NAME, [version.manifest_bytes], cache.part())
    chosen = chosen_files(manifest, select(manifest) if select else None)
    missing = _missing(home, chosen)
    if missing:
        version = version or RemoteVersion(remote, resolved, b"", manifest)
        _fetch_files(version, missing, home, cache.part().parent, progress)
    if home == incoming:
        entry.parent.mkdir(parents=True, exist_ok=True)
        home.rename(entry)
        sync_folder(entry.parent)
    return _proof(resolved, manifest, entry, chosen)


def _seems_complete(cache: Cache, resolved: Resolved, select: Select | None) -> bool:
    """Compare names and sizes only; spares hashing what will be hashed again under the lock."""
    entry = cache.entry(resolved)
    if not entry.is_dir() or (manifest := _manifest_in(entry, resolved)) is None:
        return False
    chosen = chosen_files(manifest, select(manifest) if select else None)
    try:
        return all((entry / file.path).stat().st_size == file.size for file in chosen)
    except OSError:
        return False


def _manifest_in(home: Path, resolved: Resolved) -> Manifest | None:
    """Return the manifest in a folder of the cache, or None unless it is the promised one."""
    try:
        data, manifest = read_manifest(home)
        check_digest(data, resolved.manifest_digest, str(home))
    except (OSError, NotFoundError, IntegrityError):
        return None
    return manifest


def _missing(home: Path, chosen: Iterable[ManifestFile]) -> list[ManifestFile]:
    """Return the files that are not there, or not with the promised bytes."""

    def look(promised: ManifestFile, stop: Stop) -> ManifestFile | None:
        try:
            check_file(home, promised, lambda _: stop.check())
        except IntegrityError:
            return promised
        return None

    return [promised for promised in for_each(chosen, look) if promised is not None]


def _fetch_files(
    version: RemoteVersion, files: Iterable[ManifestFile], home: Path, parts: Path, progress: Progress
) -> None:
    files = list(files)
    total = sum(file.size for file in files)
    check_room(home, total)
    with progress.task(f"Pulling {version.resolved}", total) as advance:

        def fetch(promised: ManifestFile, stop: Stop) -> None:
            _fetch_file(version, promised, home, parts / token(), stop, advance)

        for_each(files, fetch)


def _fetch_file(
    version: RemoteVersion, promised: ManifestFile, home: Path, part: Path, stop: Stop, advance: Advance
) -> None:
    target = home / promised.path
    if not target.parent.resolve().is_relative_to(home.resolve()):
        raise IntegrityError(f"{target.parent}: leads out of the folder; remove it and pull again")
    write_whole(target, version.blocks(promised, stop, advance), part)


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
