"""Atomic writes to the local disk, and its errors."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DiskError
from .progress import human_size

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn an `OSError` about a local file into a `DiskError`.

    Raises:
        DiskError: The disk is full, or denies access.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free = human_size(shutil.disk_usage(_existing(where)).free)
            raise DiskError(f"{where}: the disk is full ({free} free); make room and run the same again") from error
        raise DiskError(f"{where}: {error.strerror or error}; check the folder and its rights") from error


def write_whole(path: Path, blocks: Iterable[bytes], temporary: Path) -> None:
    """Write `blocks` to `temporary`, flush them to the disk, then rename it to `path`.

    On any failure, an error raised by `blocks` included, `temporary` is removed and `path` is unchanged.

    Raises:
        OSError: The disk is full, or denies access.
    """
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power loss.

    Raises:
        OSError: The disk denies access.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_free_space(where: Path, needed: int) -> None:
    """Check that the disk has room.

    Raises:
        DiskError: Fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(_existing(where)).free
    if free < needed:
        raise DiskError(
            f"{where}: the disk is too full: {human_size(needed)} are needed, {human_size(free)} are free; "
            "make room and run the same again"
        )


def token() -> str:
    """Return a name that no other process or thread uses."""
    return f"{os.getpid()}-{secrets.token_hex(6)}"


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
