"""Expensive files, created once for all workers of a test run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this run share; it also works without workers."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a shared file or folder; the first worker creates it, the others wait.

    Tests must not change it, because other workers read it too.

    Args:
        factory: The fixture of this worker.
        name: A unique name.
        make: Creates the file or folder at a path, whose parent exists and is empty.
    """
    home = shared_folder(factory) / name
    with FileLock(f"{home}.lock"):
        if not (home / "done").exists():
            shutil.rmtree(home, ignore_errors=True)  # Another worker may have failed halfway.
            home.mkdir()
            make(home / name)
            (home / "done").touch()
    return home / name
