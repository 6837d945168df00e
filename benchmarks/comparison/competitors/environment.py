"""Virtual environments for the competitors, made when they are first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def make_environment(requirements: Path, folder: Path, say: Callable[[str], object]) -> Path:
    """Return the Python of an environment with the pinned requirements; it is made anew when they have changed.

    Args:
        requirements: A file with a pin a line.
        folder: Where the environment lies.
        say: Called when it has to be made.

    Raises:
        SystemExit: pip could not install them; the message has its last line.
    """
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return python
    say(f"Setting up {folder} from {requirements.name}")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemExit(f"{requirements.name} cannot be installed: {last}")
    stamp.write_text(digest)
    return python
