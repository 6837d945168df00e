"""`make model`, and therefore `make serve`, creates the image of the examples in the documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.server import ROOT


def test_make_model_creates_the_example_image(package: Path, store_url: str, tmp_path: Path) -> None:
    local = tmp_path / ".local"
    local.mkdir()
    (local / "package").symlink_to(package)
    shutil.copytree(urlsplit(store_url).path, local / "store")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "WEIGHTS"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    command = [str(ROOT / "scripts" / "demo.sh"), "model"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (local / "example.png").read_bytes() == (package / "golden" / "08.png").read_bytes()
