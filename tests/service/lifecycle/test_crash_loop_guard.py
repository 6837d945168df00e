from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.lifecycle.crash_loop_guard import MAX_CRASHES, CrashLoopGuard, LoadCrashedError
from tests.server import ROOT

DIGEST = f"sha256:{'a' * 64}"

DIE = """
import os, signal, sys
from pathlib import Path
from service.lifecycle.crash_loop_guard import CrashLoopGuard
with CrashLoopGuard(Path(sys.argv[1])).loading(sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die(folder: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIE, str(folder), DIGEST], cwd=ROOT, check=False).returncode == -9


def test_a_version_that_kills_the_process_is_refused_in_the_end(tmp_path: Path) -> None:
    guard = CrashLoopGuard(tmp_path / "marks")
    for _ in range(MAX_CRASHES):
        die(tmp_path / "marks")
    with pytest.raises(LoadCrashedError, match="crashed 2 times"), guard.loading(DIGEST):
        raise AssertionError("it was tried")
    with guard.loading(f"sha256:{'b' * 64}"):
        pass  # Another version is not meant.
    guard.reset()
    with guard.loading(DIGEST):
        pass


def test_a_load_that_fails_in_words_counts_for_nothing(tmp_path: Path) -> None:
    guard = CrashLoopGuard(tmp_path)
    for _ in range(MAX_CRASHES + 1):
        with pytest.raises(RuntimeError), guard.loading(DIGEST):
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_deaths_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    for _ in range(MAX_CRASHES):
        die(tmp_path)
    (marker,) = tmp_path.iterdir()
    os.utime(marker, (time.time() - 7200,) * 2)
    with CrashLoopGuard(tmp_path).loading(DIGEST):
        pass


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with CrashLoopGuard(tmp_path / "file" / "marks").loading(DIGEST):
        pass
