"""Are these the bytes that the manifest promised? Reads files; opens no socket."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import IntegrityError, NotFoundError
from model_store.workers import Stop, for_each

from .manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME, Manifest, ManifestFile, digest_of
from .signing import MAX_SIGNATURE_BYTES

BLOCK_BYTES = 2**20
"""Large enough that hashing in several threads is not held up by the interpreter."""


@dataclass(frozen=True)
class VerifiedModel:
    """Proof that files of a version are the promised ones; loaders take this and not a path."""

    model: str
    version: int
    """0 for a folder that is not published."""
    digest: str
    manifest: Manifest
    root: Path
    files: frozenset[str]
    """The paths that were verified, relative to `root`."""

    def path(self, relative: str) -> Path:
        """Return where a verified file lies; `.` is the folder itself.

        Raises:
            NotFoundError: The file was not verified, so it may not be used.
        """
        if relative == ".":
            return self.root
        if relative not in self.files:
            raise NotFoundError(f"{self.model}:{self.version}: {relative!r} is not among the verified files")
        return self.root / relative


class FileCheck:
    """Counts and hashes the bytes of one file as they pass."""

    def __init__(self, promised: ManifestFile, where: str) -> None:
        self._promised = promised
        self._where = where
        self._hash = hashlib.sha256()
        self._size = 0

    def update(self, block: bytes) -> None:
        """Take the next block.

        Raises:
            IntegrityError: There are more bytes than promised.
        """
        self._size += len(block)
        if self._size > self._promised.size:
            raise IntegrityError(f"{self._where}: expected {self._promised.size} bytes, found more")
        self._hash.update(block)

    def finish(self) -> None:
        """Judge the whole file.

        Raises:
            IntegrityError: It is too short, or has another hash.
        """
        if self._size != self._promised.size:
            raise IntegrityError(f"{self._where}: expected {self._promised.size} bytes, found {self._size}")
        if (actual := self._hash.hexdigest()) != self._promised.sha256:
            raise IntegrityError(f"{self._where}: expected sha256 {self._promised.sha256}, found {actual}")


def read_manifest(root: Path) -> tuple[bytes, Manifest]:
    """Return the manifest of a folder, as bytes and as read.

    Raises:
        NotFoundError: The folder, or the manifest in it, does not exist.
        IntegrityError: The manifest is a link out of the folder or too large.
        ManifestError: It is not valid.
    """
    if not root.is_dir():
        raise NotFoundError(f"{root}: there is no such folder")
    path = _inside(root, MANIFEST_NAME)
    if not path.is_file():
        raise NotFoundError(f"{root}: holds no {MANIFEST_NAME}, so it is no version of a model")
    if (size := path.stat().st_size) > MAX_MANIFEST_BYTES:
        raise IntegrityError(f"{path}: {size} bytes; at most {MAX_MANIFEST_BYTES} are read")
    data = path.read_bytes()
    return data, Manifest.parse(data)


def read_signature(root: Path) -> bytes | None:
    """Return the signature in the folder of a version, or None if there is none.

    Raises:
        IntegrityError: It is a link out of the folder or too large.
    """
    path = _inside(root, SIGNATURE_NAME)
    if not path.is_file():
        return None
    if (size := path.stat().st_size) > MAX_SIGNATURE_BYTES:
        raise IntegrityError(f"{path}: {size} bytes; at most {MAX_SIGNATURE_BYTES} are read")
    return path.read_bytes()


def check_digest(data: bytes, expected: str, where: str) -> None:
    """Refuse a manifest with another digest than the one that was promised.

    Raises:
        IntegrityError: The digests differ.
    """
    if (actual := digest_of(data)) != expected:
        raise IntegrityError(f"{where}: expected {expected}, found {actual}; it was changed after it was published")


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks of `BLOCK_BYTES`."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def check_file(root: Path, promised: ManifestFile, passed: Callable[[int], object] | None = None) -> Path:
    """Hash one file of a folder and return where it lies.

    Args:
        root: The folder of the version.
        promised: The file's entry in the manifest.
        passed: Told the length of each block once it is hashed; may raise to give up.

    Raises:
        IntegrityError: It is missing, no regular file, a link out of the folder, or other bytes.
    """
    path = _inside(root, promised.path)
    try:
        status = path.stat()
    except OSError as error:
        raise IntegrityError(f"{root / promised.path}: missing ({error.strerror})") from error
    if not stat.S_ISREG(status.st_mode):
        raise IntegrityError(f"{path}: is no regular file")
    if status.st_size != promised.size:
        raise IntegrityError(f"{path}: expected {promised.size} bytes, found {status.st_size}")
    check = FileCheck(promised, str(path))
    for block in read_blocks(path):
        check.update(block)
        if passed:
            passed(len(block))
    check.finish()
    return path


def verify_folder(
    root: Path,
    *,
    model: str = "",
    version: int = 0,
    digest: str | None = None,
    files: Collection[str] | None = None,
    passed: Callable[[int], object] | None = None,
) -> VerifiedModel:
    """Check a folder against its manifest, several files at a time.

    Args:
        root: The folder, with `manifest.json` in it.
        model: For the proof; the folder's name where none is given.
        version: For the proof; 0 for a folder that is not published.
        digest: What the manifest must hash to, where somebody promised it.
        files: The paths to check; all that are listed where none are given.
        passed: Told the length of each block once it is hashed.

    Raises:
        NotFoundError: The folder or the manifest does not exist, or lists no such file.
        IntegrityError: Some bytes are not the promised ones; names the first such file.
    """
    data, manifest = read_manifest(root)
    if digest is not None:
        check_digest(data, digest, str(root / MANIFEST_NAME))
    chosen = chosen_files(manifest, files)

    def check(promised: ManifestFile, stop: Stop) -> None:
        def hashed(size: int) -> None:
            stop.check()
            if passed:
                passed(size)

        check_file(root, promised, hashed)

    for_each(chosen, check)
    return VerifiedModel(
        model or root.resolve().name,
        version,
        digest_of(data),
        manifest,
        root,
        frozenset(file.path for file in chosen),
    )


def chosen_files(manifest: Manifest, paths: Collection[str] | None) -> list[ManifestFile]:
    """Return the entries of the given paths, or all, in the order of the manifest.

    Raises:
        NotFoundError: The manifest lists no such file.
    """
    if paths is None:
        return list(manifest.files)
    wanted = set(paths)
    chosen = [file for file in manifest.files if file.path in wanted]
    if missing := sorted(wanted - {file.path for file in chosen}):
        raise NotFoundError(f"{MANIFEST_NAME} lists no file {missing[0]!r}")
    return chosen


def stray_files(root: Path, manifest: Manifest) -> list[str]:
    """Return what lies in a folder and is not listed in its manifest, sorted."""
    listed = {file.path for file in manifest.files} | {MANIFEST_NAME}
    there = {(Path(folder) / name).relative_to(root).as_posix() for folder, _, names in os.walk(root) for name in names}
    return sorted(there - listed)


def _inside(root: Path, relative: str) -> Path:
    """Refuse a path whose links lead out of the folder."""
    path = root / relative
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise IntegrityError(f"{path}: a link that leads nowhere") from error
    if not target.is_relative_to(root.resolve()):
        raise IntegrityError(f"{path}: leads out of the folder, to {target}")
    return path
