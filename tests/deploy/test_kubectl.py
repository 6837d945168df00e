"""`scripts/kubectl.sh` finds a suitable kubectl, or says how to get one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT

SCRIPT = ROOT / "scripts" / "kubectl.sh"


def run(folder: Path, kustomize: str | None, python: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script in a folder without tools, with a kubectl that reports this version of kustomize."""
    programs, scripts = folder / "bin", folder / "scripts"
    programs.mkdir()
    scripts.mkdir()
    (scripts / "kubectl.sh").write_bytes(SCRIPT.read_bytes())
    if kustomize is not None:
        kubectl = programs / "kubectl"
        kubectl.write_text(f"#!/bin/sh\necho 'Kustomize Version: {kustomize}'\n")
        kubectl.chmod(0o755)
    else:  # Only the programs that the script itself calls.
        for name in ("bash", "dirname", "grep", "mktemp", "rm", "uname"):
            (programs / name).symlink_to(Path("/usr/bin") / name)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}" if kustomize is not None else str(programs)
    environment = {**os.environ, "PATH": path, "PYTHON": python, "PIP_NO_INDEX": "1"}
    environment.pop("KUBECTL_FETCH", None)
    command = ["/bin/bash", str(scripts / "kubectl.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kustomize", ["v5.0.1", "v6.1.0", "v10.0.0"])
def test_a_recent_kubectl_is_used(tmp_path: Path, kustomize: str) -> None:
    done = run(tmp_path, kustomize, "no-python")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "bin" / "kubectl")), done.stderr


def test_without_kubectl_and_python_the_error_names_both_solutions(tmp_path: Path) -> None:
    done = run(tmp_path, None, ".venv/bin/python")
    assert (done.returncode, done.stdout) == (1, "")
    for part in (
        "no kubectl on the PATH",
        ".venv/bin/python",
        "make setup",
        "PYTHON=",
        "install kubectl 1.27 or newer",
    ):
        assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_error_names_a_kubectl_that_is_too_old(tmp_path: Path) -> None:
    done = run(tmp_path, "v4.5.7", "no-python")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path / 'bin' / 'kubectl'} is too old" in done.stderr


def test_if_pip_cannot_download_kubectl_its_messages_come_first(tmp_path: Path) -> None:
    done = run(tmp_path, "v4.5.7", sys.executable)
    assert (done.returncode, done.stdout) == (1, "")
    *pip, ours = done.stderr.splitlines()
    assert any("No matching distribution" in line for line in pip)
    assert "check that it can reach a package index" in ours
