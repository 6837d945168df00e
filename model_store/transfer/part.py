"""A partly downloaded file, which an interrupted pull leaves for the next one to resume."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from model_store.disk import sync_folder, token
from model_store.errors import IntegrityError
from model_store.trust.verify import read_blocks

_CLAIMS = 3
"""Attempts to lock a part while others finish theirs; then a unique name is used."""


class Part:
    """A file that is written sequentially, so that its content is a prefix of the whole.

    Its name is that of its content, and its writer holds a lock on it. A second writer of the same content at the same
    time gets a file with a unique name, which is not resumed. Use it as a context manager: the file stays if the
    transfer is interrupted, and is deleted if its content is wrong or the disk denies access.
    """

    def __init__(self, folder: Path, content: str) -> None:
        """Store the arguments; nothing is written before `__enter__`.

        Args:
            folder: The folder of parts.
            content: The name of the complete content, as in `sha256-…`.
        """
        self._folder = folder
        self._content = content
        self._path = Path()
        self._handle = -1
        self._resumable = False
        self._finished = False

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / self._content
        for _ in range(_CLAIMS):
            self._open(path, 0)
            if self._locked():
                self._resumable = True
                return self
            os.close(self._handle)
        self._open(self._folder / token(), os.O_EXCL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            spoilt = isinstance(error, IntegrityError | OSError)
            if not self._finished and (spoilt or not self._resumable or not self.size):
                self._path.unlink(missing_ok=True)
        finally:
            os.close(self._handle)

    @property
    def size(self) -> int:
        """Return the number of bytes written."""
        return os.fstat(self._handle).st_size

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes written so far.

        Raises:
            OSError: The disk denies access.
        """
        return read_blocks(self._path)

    def write(self, block: bytes) -> None:
        """Append a block.

        Raises:
            OSError: The disk is full, or denies access.
        """
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def restart(self) -> None:
        """Truncate the file.

        Raises:
            OSError: The disk denies access.
        """
        os.ftruncate(self._handle, 0)

    def commit(self, target: Path) -> None:
        """Flush the file to the disk, then rename it to its target.

        Raises:
            OSError: The disk is full, or denies access.
        """
        os.fsync(self._handle)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        self._finished = True
        sync_folder(target.parent)

    def _open(self, path: Path, flags: int) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | flags, 0o666)

    def _locked(self) -> bool:
        """Lock the file, and return whether it still has this name: its last writer may have renamed it."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._handle), self._path.stat())
        except OSError:
            return False
