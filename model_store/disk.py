"""Writing to the local disk so that no name is visible before its content is whole."""

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
    """Turn what the operating system says about a local file into a `DiskError`.

    Raises:
        DiskError: The disk is full, or refuses.
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

    Whatever fails, an error that `blocks` raises included, `temporary` is removed and `path` is as before.

    Raises:
        OSError: The disk is full, or refuses.
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
    """Flush the names in a folder to the disk, so that a rename survives a power cut.

    Raises:
        OSError: The disk refuses.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_room(where: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

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
