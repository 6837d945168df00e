"""Files of a version, from the store to a folder: each one a part, until its hash is known to be right.

A part that an interrupted pull left is hashed from the front, and only the rest of the file is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from model_store.catalog.fetch import RemoteVersion
from model_store.disk import check_room
from model_store.errors import IntegrityError, ObjectNotFoundError
from model_store.progress import Advance, Progress
from model_store.trust.manifest import MANIFEST_NAME, ManifestFile
from model_store.workers import Stop, for_each

from .part import Part
from .ranges import Transfer


def download_files(
    version: RemoteVersion, files: Sequence[ManifestFile], home: Path, parts: Path, progress: Progress
) -> None:
    """Fetch files of a version into a folder, several at a time; each appears once it is the promised one.

    Args:
        version: What they are files of.
        files: Their entries in the manifest.
        home: The folder.
        parts: Where they are until they are whole; in the same file system.
        progress: Shows how far it is.

    Raises:
        IntegrityError: A file is not what was promised, or a folder in `home` is a link out of it.
        DiskError: The disk cannot hold them.
        StoreError: The store refused, or could not be reached; what came so far is kept in `parts`.
        OSError: The disk is full, or refuses.
    """
    total = sum(file.size for file in files)
    check_room(home, total - sum(_kept(parts, file) for file in files))
    with progress.task(f"Pulling {version.resolved}", total) as advance, Transfer(version.remote) as transfer:

        def download(promised: ManifestFile, stop: Stop) -> None:
            target = home / promised.path
            if not target.parent.resolve().is_relative_to(home.resolve()):
                raise IntegrityError(f"{target.parent}: leads out of the folder; remove it and pull again")
            with Part(parts, _content(promised)) as part:
                _fill(part, version, promised, transfer, stop, advance)
                part.become(target)

        for_each(files, download)


def file_blocks(
    version: RemoteVersion, promised: ManifestFile, transfer: Transfer, stop: Stop, start: int = 0
) -> Iterator[bytes]:
    """Yield the bytes of a file from `start` on, unchecked.

    Raises:
        IntegrityError: The file is missing, of another size, or was replaced on the way.
        StoreError: The store refused, or could not be reached.
    """
    try:
        yield from transfer.blocks(version.path(promised), promised.size, start, stop)
    except ObjectNotFoundError as error:
        raise IntegrityError(f"{error}, though {MANIFEST_NAME} lists it") from error


def _fill(
    part: Part, version: RemoteVersion, promised: ManifestFile, transfer: Transfer, stop: Stop, advance: Advance
) -> None:
    """Bring a part to its end; if the whole is wrong, what was kept may be why, so begin once more without it."""
    done = 0

    def counted(size: int) -> None:
        nonlocal done
        done += size
        advance(size)

    if part.size and version.remote.gives_parts(version.path(promised)):
        try:
            _append(part, version, promised, transfer, stop, counted)
            return
        except IntegrityError:
            advance(-done)
    part.restart()
    _append(part, version, promised, transfer, stop, advance)


def _append(
    part: Part, version: RemoteVersion, promised: ManifestFile, transfer: Transfer, stop: Stop, advance: Advance
) -> None:
    """Hash what a part holds, fetch the rest behind it, and judge the whole."""
    judge = version.check(promised)
    for block in part.kept():
        stop.check()
        judge.update(block)
        advance(len(block))
    if part.size < promised.size or not promised.size:
        for block in file_blocks(version, promised, transfer, stop, part.size):
            stop.check()
            judge.update(block)
            part.write(block)
            advance(len(block))
    judge.finish()


def _content(promised: ManifestFile) -> str:
    return f"sha256-{promised.sha256}"


def _kept(parts: Path, promised: ManifestFile) -> int:
    """Return how much of a file need not be fetched again."""
    try:
        return min((parts / _content(promised)).stat().st_size, promised.size)
    except OSError:
        return 0
