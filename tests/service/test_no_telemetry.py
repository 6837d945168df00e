"""What serves tells nobody that it was started, also where OpenVINO's package for that is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.server import ROOT

SAY = """
import json, sys, threading
found = [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]
print(json.dumps({"modules": found, "threads": threading.active_count()}))
"""


def say_after(imported: str, home: Path) -> dict[str, object]:
    """Return what a fresh interpreter, which does not know that this is a test, has after an import."""
    home.mkdir()
    # With CI set OpenVINO is silent by itself.
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run(
        [sys.executable, "-c", f"import {imported}\n{SAY}"],
        cwd=ROOT,
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_openvino_is_silent(tmp_path: Path) -> None:
    assert version("openvino-telemetry")  # What would tell is there, as OpenVINO asks for it.
    home = tmp_path / "home"
    assert say_after("engines.openvino", home) == {"modules": [], "threads": 1}
    assert list(home.iterdir()) == []
