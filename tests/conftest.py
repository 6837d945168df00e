"""Shared fixtures: a tiny real model, the demo model (Xception, trained on the digits), and services of both.

Tests use the tiny model unless they depend on the network; it is trained within seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock

from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from tests.faults.table import PROPERTY, format_table
from tests.server import ROOT, Demo, Server
from tests.shared import made_once
from tests.tiny_model import XCEPTION_WORK, write_tiny_version

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

# Shells start background processes with SIGINT ignored, and processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` in the checkout, which must succeed, and return its output."""
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


DIGITS = ("--data", "digits", "--epochs", "2", "--batch-size", "16")
"""Half the epochs of the demo with twice the steps: the same accuracy in half the time."""

_TRAINING_TIMEOUT_S = 2400
"""Timeout of tests that may wait until the demo model is trained and packaged; slow CPUs need ten minutes."""

SUMMARY = "summary"
"""A recorded property of a test: a line for the summary at the end of the run."""

RecordProperty = Callable[[str, object], None]
"""Pytest's fixture `record_property`."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Keep a file on one worker, and files that share a server on the same one."""
    from tests.scheduler import SharedServerScheduling

    return SharedServerScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files so that two workers do not wait for each other.

    The first file trains the demo model. Meanwhile the other worker runs tests that compute a lot but do not need that
    model, rather than tests with tight time limits. Other tests of the demo model come last, with a longer timeout.
    """
    waiting = [item for item in items if "digits_run" in getattr(item, "fixturenames", ())]
    for item in waiting:
        item.add_marker(pytest.mark.timeout(_TRAINING_TIMEOUT_S))
    files = {item.path for item in waiting}

    def position(item: pytest.Item) -> int:
        if item.path in files:
            return 0 if item.path.name == "test_parity.py" else 3
        return 1 if item.path.relative_to(ROOT).parts[1] in ("training", "model_store") else 2

    items.sort(key=position)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the summary lines that tests recorded in any worker, ordered by file."""
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    reports.sort(key=lambda report: report.nodeid.partition("::")[0])
    recorded = [pair for report in reports for pair in report.user_properties]
    if lines := [value for name, value in recorded if name == SUMMARY]:
        terminalreporter.section("summary")
        for line in lines:
            terminalreporter.line(line)
    if rows := [value for name, value in recorded if name == PROPERTY]:
        terminalreporter.section("faults")
        for line in format_table(rows):
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def digits_run() -> Path:
    """A finished and evaluated training run of the demo model: Xception on the digits.

    Training takes minutes, so the run is cached below .local/ until the training code or its libraries change.
    """

    def make(run: Path) -> None:
        run_module("training", "train", *DIGITS, "--output", str(run), "--resume")
        run_module("training", "evaluate", str(run))

    return kept("run", "evaluation.json", make, "training")


def kept(name: str, last: str, make: Callable[[Path], None], *packages: str) -> Path:
    """Return a cached folder below .local/; create it again if its sources or the libraries have changed.

    Args:
        name: The name of the folder.
        last: The file that is written last.
        make: Fills the folder, even if a previous attempt left it incomplete.
        packages: The packages whose code the content depends on.
    """
    state = hashlib.sha256(repr(DIGITS).encode())
    sources = [source for package in packages for source in sorted((ROOT / package).rglob("*.py"))]
    for source in [*sources, ROOT / "requirements" / "dev.txt"]:
        state.update(source.read_bytes())
    home = ROOT / ".local" / "tests"
    folder = home / f"{name}-{state.hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{name}.lock"):
        if not (folder / last).exists():
            for old in set(home.glob(f"{name}-*")) - {folder}:
                shutil.rmtree(old)
            make(folder)
    return folder


@pytest.fixture(scope="session")
def evaluation(digits_run: Path) -> dict[str, Any]:
    """The content of `evaluation.json` of the demo model."""
    report: dict[str, Any] = json.loads((digits_run / "evaluation.json").read_text())
    return report


class Export(NamedTuple):
    """The demo model as a version folder, and the output of `export`."""

    folder: Path
    output: str


@pytest.fixture(scope="session")
def export(digits_run: Path) -> Export:
    """The demo model, packaged through the command line; cached, because that takes a minute."""

    def make(home: Path) -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        options = ("--output", str(home / "package"), "--calibration-images", "60")
        done = run_module("training", "export", str(digits_run), *options)
        assert [path.name for path in home.iterdir()] == ["package"]
        assert "╸" not in done.stdout + done.stderr  # NNCF's progress bars
        (home / "output").write_text(done.stdout)

    home = kept("export", "output", make, "training", "engines", "model_store")
    return Export(home / "package", (home / "output").read_text())


@pytest.fixture(scope="session")
def xception_package(export: Export) -> Path:
    """The demo model as a version folder."""
    return export.folder


@pytest.fixture(scope="session")
def xception_golden(xception_package: Path) -> list[Path]:
    """Held-out digits that the demo model classifies correctly, as PNG files; the file with index n shows an n."""
    return golden_images(xception_package)


@pytest.fixture(scope="session")
def xception_store_url(xception_package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the demo model as version 1, labelled `stable`."""
    return publish_alone(xception_package, tmp_path_factory, "xception-store")


@pytest.fixture(scope="session")
def xception_server(demo: Demo, xception_store_url: str) -> Iterator[Server]:
    """A service of the demo model, run by OpenVINO."""
    with demo(MODEL_STORE_URL=xception_store_url) as running:
        yield running


@pytest.fixture(scope="session")
def tensorflow_server(demo: Demo, xception_store_url: str) -> Iterator[Server]:
    """A service of the demo model, run by TensorFlow."""
    with demo(MODEL_STORE_URL=xception_store_url, ENGINE="tensorflow") as running:
        yield running


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model of the digits as a version folder."""
    return made_once(tmp_path_factory, "package", write_tiny_version)


@pytest.fixture(scope="session")
def golden(package: Path) -> list[Path]:
    """Held-out digits that the tiny model classifies correctly, as PNG files; the file with index n shows an n."""
    return golden_images(package)


@pytest.fixture(scope="session")
def store_url(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the tiny model as version 1, labelled `stable`."""
    return publish_alone(package, tmp_path_factory, "store")


@pytest.fixture(scope="session")
def slow_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with as much work per image as Xception, for tests in which requests have to wait."""
    return made_once(tmp_path_factory, "slow-package", lambda folder: write_tiny_version(folder, XCEPTION_WORK))


@pytest.fixture(scope="session")
def slow_store_url(slow_package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the slow model as version 1, labelled `stable`."""
    return publish_alone(slow_package, tmp_path_factory, "slow-store")


@pytest.fixture(scope="session")
def demo(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Create services with settings, each in its own folder; `with` runs one.

    They serve the tiny model unless `MODEL_STORE_URL` names another store.
    """

    def make(certificate: tuple[Path, Path] | None = None, **settings: str) -> Server:
        folder = tmp_path_factory.mktemp("demo")
        settings = {"MODEL_STORE_URL": store_url, "ENGINE": "openvino", **settings}
        return Server(folder, certificate=certificate, **settings)

    return make


@pytest.fixture(scope="session")
def server(demo: Demo) -> Iterator[Server]:
    """A service of the tiny model with small limits."""
    with demo(
        MAX_REQUEST_MIB="4",
        MAX_IMAGE_MIB="2",
        MAX_IMAGE_MEGAPIXELS="2",
        MAX_INSTANCES="400",
        QUEUE_MAX_IMAGES="400",
    ) as running:
        yield running


def golden_images(package: Path) -> list[Path]:
    """Return the golden images of a package, sorted by name."""
    return sorted((package / "golden").glob("*.png"))


def publish_alone(package: Path, factory: pytest.TempPathFactory, name: str) -> str:
    """Return the URL of a store with a package as version 1, labelled `stable`; all workers share it."""

    def make(folder: Path) -> None:
        publish(package, Remote.open(f"file://{folder}", publishing=True), "xception", labels=("stable",))

    return f"file://{made_once(factory, name, make)}"
