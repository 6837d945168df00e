"""Servers from Debian packages: installed in CI; elsewhere tests without them are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock

_LOCK = Path(tempfile.gettempdir()) / "xception-service-apt.lock"
"""Prevents two workers from running apt at the same time, because apt does not wait."""


def installed(commands: Sequence[str]) -> bool:
    """Return whether all commands are installed."""
    return all(map(shutil.which, commands))


def require(commands: Sequence[str], packages: Sequence[str]) -> None:
    """Install commands in CI; elsewhere skip the test if one is missing.

    If an init system is running, it also starts the services of these packages, which the tests do not use.

    Args:
        commands: The commands that are needed.
        packages: The packages that contain them.
    """
    if installed(commands):
        return
    wanted = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not os.environ.get("CI"):
        pytest.skip(f"commands are missing; install them with: {wanted}")
    if os.getuid() != 0 or not shutil.which("apt-get"):
        pytest.fail(f"root and apt are needed for: {wanted}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with FileLock(_LOCK):
        if installed(commands):
            return
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.fail(f"apt-get {command[0]} failed:\n{done.stderr[-2000:]}")
