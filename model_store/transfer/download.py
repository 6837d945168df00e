"""Download the files of a version to a folder; each is a part until its hash is verified.

The part that an interrupted pull left is hashed, and only the rest of the file is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from model_store.catalog.fetch import RemoteVersion
from model_store.disk import check_free_space
from model_store.errors import IntegrityError, ObjectNotFoundError
from model_store.progress import Advance, Progress
from model_store.trust.manifest import MANIFEST_NAME, ManifestFile
from model_store.workers import Stop, for_each

from .part import Part
from .ranges import Transfer


def download_files(
    version: RemoteVersion, files: Sequence[ManifestFile], home: Path, parts: Path, progress: Progress
) -> None:
    """Fetch files of a version into a folder, several at a time; each appears once it is verified.

    Args:
        version: The version they belong to.
        files: Their entries in the manifest.
        home: The target folder.
        parts: The folder of incomplete files; in the same file system.
        progress: Shows the progress.

    Raises:
        IntegrityError: A file differs from its entry, or a folder in `home` is a link out of it.
        DiskError: The disk cannot hold them.
        StoreError: The store denied access, or could not be reached; incomplete files are kept in `parts`.
        OSError: The disk is full, or denies access.
    """
    total = sum(file.size for file in files)
    check_free_space(home, total - sum(_kept(parts, file) for file in files))
    with progress.task(f"Pulling {version.resolved}", total) as advance, Transfer(version.remote) as transfer:

        def download(expected: ManifestFile, stop: Stop) -> None:
            target = home / expected.path
            if not target.parent.resolve().is_relative_to(home.resolve()):
                raise IntegrityError(f"{target.parent}: leads out of the folder; remove it and pull again")
            with Part(parts, _content(expected)) as part:
                _fill(part, version, expected, transfer, stop, advance)
                part.commit(target)

        for_each(files, download)


def file_blocks(
    version: RemoteVersion, expected: ManifestFile, transfer: Transfer, stop: Stop, start: int = 0
) -> Iterator[bytes]:
    """Yield the bytes of a file from `start` on, unchecked.

    Raises:
        IntegrityError: The file is missing, of another size, or was replaced on the way.
        StoreError: The store denied access, or could not be reached.
    """
    try:
        yield from transfer.blocks(version.path(expected), expected.size, start, stop)
    except ObjectNotFoundError as error:
        raise IntegrityError(f"{error}, though {MANIFEST_NAME} lists it") from error


def _fill(
    part: Part, version: RemoteVersion, expected: ManifestFile, transfer: Transfer, stop: Stop, advance: Advance
) -> None:
    """Complete a part; if the result is wrong, start once more without what was kept."""
    done = 0

    def counted(size: int) -> None:
        nonlocal done
        done += size
        advance(size)

    if part.size and version.remote.supports_ranges(version.path(expected)):
        try:
            _append(part, version, expected, transfer, stop, counted)
            return
        except IntegrityError:
            advance(-done)
    part.restart()
    _append(part, version, expected, transfer, stop, advance)


def _append(
    part: Part, version: RemoteVersion, expected: ManifestFile, transfer: Transfer, stop: Stop, advance: Advance
) -> None:
    """Hash the content of a part, append the rest of the file, and check the whole file."""
    check = version.check(expected)
    for block in part.blocks():
        stop.check()
        check.update(block)
        advance(len(block))
    if part.size < expected.size or not expected.size:
        for block in file_blocks(version, expected, transfer, stop, part.size):
            stop.check()
            check.update(block)
            part.write(block)
            advance(len(block))
    check.finish()


def _content(expected: ManifestFile) -> str:
    return f"sha256-{expected.sha256}"


def _kept(parts: Path, expected: ManifestFile) -> int:
    """Return the number of bytes that need not be fetched again."""
    try:
        return min((parts / _content(expected)).stat().st_size, expected.size)
    except OSError:
        return 0
