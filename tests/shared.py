"""What is dear to make, made once for all the processes that a run of the tests is spread over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this run have in common; alone, pytest has one too."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return what `make` leaves at the path that it is given; the first worker makes it, the others wait for it.

    Nobody may change it: tests of other workers read it too.

    Args:
        factory: Of this worker.
        name: Tells it from everything else that is shared.
        make: Makes a file or a folder at a path whose parent exists and is empty.
    """
    home = shared_folder(factory) / name
    with FileLock(f"{home}.lock"):
        if not (home / "done").exists():
            shutil.rmtree(home, ignore_errors=True)  # What another worker could not finish.
            home.mkdir()
            make(home / name)
            (home / "done").touch()
    return home / name
