"""Servers that tests take from Debian: there, or installed if this is CI, or a reason to skip."""

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
"""apt does not wait for another apt, which another worker may have started."""


def installed(commands: Sequence[str]) -> bool:
    """Return whether all commands are installed."""
    return all(map(shutil.which, commands))


def require(commands: Sequence[str], packages: Sequence[str]) -> None:
    """Have commands installed in CI; elsewhere skip the test where one is missing.

    Where an init system runs it starts the services of these packages, which the tests do not use.

    Args:
        commands: Those that are called.
        packages: What brings them.
    """
    if installed(commands):
        return
    wanted = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not os.environ.get("CI"):
        pytest.skip(f"not everything is here: {wanted}")
    if os.getuid() != 0 or not shutil.which("apt-get"):
        pytest.fail(f"only root can do this, and with apt: {wanted}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with FileLock(_LOCK):
        if installed(commands):
            return
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.fail(f"apt-get {command[0]} failed:\n{done.stderr[-2000:]}")
