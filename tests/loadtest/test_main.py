from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from loadtest.__main__ import MOVED
from tests.server import ROOT


def loadtest(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python -m loadtest` and return what it printed."""
    command = [sys.executable, "-m", "loadtest", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_moved_benchmark_runs_with_a_warning() -> None:
    done = loadtest("unload", "--help")
    assert done.returncode == 0
    assert done.stderr == "python -m loadtest unload is deprecated; use `python -m benchmarks unload`\n"
    assert "--engine" in done.stdout


def test_where_benchmarks_are_not_installed_one_line_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "loadtest", tmp_path / "loadtest", ignore=shutil.ignore_patterns("__pycache__"))
    done = loadtest("unload", folder=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr == "python -m loadtest unload is now `python -m benchmarks unload`, which runs in a checkout only\n"
    )


def test_other_commands_are_rejected() -> None:
    done = loadtest("autoscaling")
    assert (done.returncode, done.stdout) == (2, "")
    assert "python -m loadtest.run" in done.stderr


def test_each_moved_command_is_a_benchmark() -> None:
    from benchmarks.__main__ import COMMANDS

    assert set(MOVED) == set(COMMANDS)
