"""What most tests stand on: the demo model, trained for real, and services that serve it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.server import ROOT, Server

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

# A shell that runs the tests in the background ignores Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` in the checkout and return what it printed; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def digits_run() -> Path:
    """The demo's training run: Xception on the digits, evaluated.

    Training takes minutes, so the run is kept below .local/ until the training code or its libraries change.
    """
    state = hashlib.sha256()
    for source in [*sorted((ROOT / "training").glob("*.py")), ROOT / "requirements" / "dev.txt"]:
        state.update(source.read_bytes())
    home = ROOT / ".local" / "tests"
    run = home / f"run-{state.hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "lock"):
        if not (run / "evaluation.json").exists():
            for old in home.glob("run-*"):
                shutil.rmtree(old)
            run_module("training", "train", "--data", "digits", "--output", str(run), "--resume")
            run_module("training", "evaluate", str(run))
    return run


@pytest.fixture(scope="session")
def evaluation(digits_run: Path) -> dict[str, Any]:
    """What `evaluate` reported of the demo model."""
    report: dict[str, Any] = json.loads((digits_run / "evaluation.json").read_text())
    return report


@pytest.fixture(scope="session")
def package(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as a version folder."""
    folder = tmp_path_factory.mktemp("export") / "package"
    run_module("training", "export", str(digits_run), "--output", str(folder), "--calibration-images", "60")
    return folder


@pytest.fixture(scope="session")
def store_url(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that holds the demo model as version 1, labelled `stable`."""
    url = f"file://{tmp_path_factory.mktemp('store')}"
    run_module("model_store", "publish", str(package), "--store", url, "--model", "xception", "--label", "stable")
    return url


@pytest.fixture(scope="session")
def server(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of the demo model with small limits, run by OpenVINO."""
    with Server(
        tmp_path_factory.mktemp("server"),
        MODEL_STORE_URL=store_url,
        ENGINE="openvino",
        MAX_REQUEST_MIB="4",
        MAX_IMAGE_MIB="2",
        MAX_IMAGE_MEGAPIXELS="2",
        MAX_INSTANCES="400",
        QUEUE_MAX_IMAGES="400",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def tensorflow_server(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of the demo model, run by TensorFlow."""
    with Server(tmp_path_factory.mktemp("tensorflow"), MODEL_STORE_URL=store_url, ENGINE="tensorflow") as running:
        yield running


@pytest.fixture(scope="session")
def golden(package: Path) -> list[Path]:
    """Held-out digits as PNG files; that of number n shows an n."""
    return sorted((package / "golden").glob("*.png"))
