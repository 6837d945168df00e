"""A file on its way to the local disk, which an interrupted pull leaves for the next one to go on with."""

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
"""Times that a part is tried to be taken while others finish theirs; then a name of one's own is as good."""


class Part:
    """A file that is written from the front, so that what is there is a prefix of the whole.

    Its name is that of its content, and who writes it holds a lock on it. Somebody who wants the same content at
    the same time gets a file with a name that nobody else uses, which no one goes on with. Use it as a context
    manager: what was written stays if the transfer broke off, and goes if it is wrong or the disk refused.
    """

    def __init__(self, folder: Path, content: str) -> None:
        """Describe a part; nothing is touched before it is entered.

        Args:
            folder: Where parts lie.
            content: Names what the whole will be, as in `sha256-…`.
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
        """Return how many bytes are there."""
        return os.fstat(self._handle).st_size

    def kept(self) -> Iterator[bytes]:
        """Yield what is there, from the front.

        Raises:
            OSError: The disk refuses.
        """
        return read_blocks(self._path)

    def write(self, block: bytes) -> None:
        """Put a block behind what is there.

        Raises:
            OSError: The disk is full, or refuses.
        """
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def restart(self) -> None:
        """Drop what is there.

        Raises:
            OSError: The disk refuses.
        """
        os.ftruncate(self._handle, 0)

    def become(self, target: Path) -> None:
        """Flush the whole to the disk, then give it its name.

        Raises:
            OSError: The disk is full, or refuses.
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
        """Lock the file, and see that it is still the one with this name: its last writer may have moved it."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._handle), self._path.stat())
        except OSError:
            return False
