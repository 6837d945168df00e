"""Verify the files of a version against its manifest; opens no socket."""

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
"""Large enough that the interpreter lock does not limit hashing in several threads."""


@dataclass(frozen=True)
class VerifiedModel:
    """Proof that files of a version are verified; loaders take this instead of a path."""

    model: str
    version: int
    """0 for a folder that is not published."""
    digest: str
    manifest: Manifest
    root: Path
    files: frozenset[str]
    """The paths that were verified, relative to `root`."""

    def path(self, relative: str) -> Path:
        """Return the path of a verified file; `.` is the folder itself.

        Raises:
            NotFoundError: The file was not verified, so it may not be used.
        """
        if relative == ".":
            return self.root
        if relative not in self.files:
            raise NotFoundError(f"{self.model}:{self.version}: {relative!r} is not among the verified files")
        return self.root / relative


class FileCheck:
    """Counts and hashes the bytes of one file, block by block."""

    def __init__(self, expected: ManifestFile, where: str) -> None:
        self._expected = expected
        self._where = where
        self._hash = hashlib.sha256()
        self._size = 0

    def update(self, block: bytes) -> None:
        """Add the next block.

        Raises:
            IntegrityError: There are more bytes than expected.
        """
        self._size += len(block)
        if self._size > self._expected.size:
            raise IntegrityError(f"{self._where}: expected {self._expected.size} bytes, found more")
        self._hash.update(block)

    def finish(self) -> None:
        """Check the size and the hash of the whole file.

        Raises:
            IntegrityError: It is too short, or has another hash.
        """
        if self._size != self._expected.size:
            raise IntegrityError(f"{self._where}: expected {self._expected.size} bytes, found {self._size}")
        if (actual := self._hash.hexdigest()) != self._expected.sha256:
            raise IntegrityError(f"{self._where}: expected sha256 {self._expected.sha256}, found {actual}")


def read_manifest(root: Path) -> tuple[bytes, Manifest]:
    """Return the manifest of a folder, as bytes and parsed.

    Raises:
        NotFoundError: The folder, or the manifest in it, does not exist.
        IntegrityError: The manifest is a link out of the folder or too large.
        ManifestError: It is not valid.
    """
    if not root.is_dir():
        raise NotFoundError(f"{root}: there is no such folder")
    path = _inside(root, MANIFEST_NAME)
    if not path.is_file():
        raise NotFoundError(f"{root}: holds no {MANIFEST_NAME}, so it is not a version of a model")
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
    """Check the digest of a manifest.

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


def check_file(root: Path, expected: ManifestFile, passed: Callable[[int], object] | None = None) -> Path:
    """Hash one file of a folder and return its path.

    Args:
        root: The folder of the version.
        expected: The file's entry in the manifest.
        passed: Called with the length of each block once it is hashed; may raise to cancel.

    Raises:
        IntegrityError: It is missing, not a regular file, a link out of the folder, or has other bytes.
    """
    path = _inside(root, expected.path)
    try:
        status = path.stat()
    except OSError as error:
        raise IntegrityError(f"{root / expected.path}: missing ({error.strerror})") from error
    if not stat.S_ISREG(status.st_mode):
        raise IntegrityError(f"{path}: is not a regular file")
    if status.st_size != expected.size:
        raise IntegrityError(f"{path}: expected {expected.size} bytes, found {status.st_size}")
    check = FileCheck(expected, str(path))
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
        digest: The expected digest of the manifest, if known.
        files: The paths to check; all that are listed where none are given.
        passed: Called with the length of each block once it is hashed.

    Raises:
        NotFoundError: The folder or the manifest does not exist, or lists no such file.
        IntegrityError: A file differs from its entry; the message names the first one.
    """
    data, manifest = read_manifest(root)
    if digest is not None:
        check_digest(data, digest, str(root / MANIFEST_NAME))
    chosen = chosen_files(manifest, files)

    def check(expected: ManifestFile, stop: Stop) -> None:
        def hashed(size: int) -> None:
            stop.check()
            if passed:
                passed(size)

        check_file(root, expected, hashed)

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


def unlisted_files(root: Path, manifest: Manifest) -> list[str]:
    """Return the files of a folder that its manifest does not list, sorted."""
    listed = {file.path for file in manifest.files} | {MANIFEST_NAME}
    there = {(Path(folder) / name).relative_to(root).as_posix() for folder, _, names in os.walk(root) for name in names}
    return sorted(there - listed)


def _inside(root: Path, relative: str) -> Path:
    """Return the path below the folder, and reject one whose links lead out of it."""
    path = root / relative
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise IntegrityError(f"{path}: a link that leads nowhere") from error
    if not target.is_relative_to(root.resolve()):
        raise IntegrityError(f"{path}: leads out of the folder, to {target}")
    return path
