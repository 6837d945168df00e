"""What most tests share: a tiny real model, the demo model (Xception, trained on the digits), and services of both.

The tiny one is for all tests to which it does not matter which network serves; it is there within seconds.
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


DIGITS = ("--data", "digits", "--epochs", "2", "--batch-size", "16")
"""Half the epochs of the demo, and twice the steps in each: as good, in half the time."""

_TRAINING_TIMEOUT_S = 2400
"""For a test that may have to wait until the demo model is trained and packaged; old cores take ten minutes."""

SUMMARY = "summary"
"""A property that a test records: a line of what it saw, for the end of the run."""

RecordProperty = Callable[[str, object], None]
"""Pytest's fixture `record_property`."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Keep a file on one worker, and files that share a server on the same one."""
    from tests.scheduler import SharedServerScheduling

    return SharedServerScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files so that two workers do not wait for each other: one trains the demo model, which comes first.

    Beside that runs what computes without it, so that nothing that heeds the time has to; what needs it comes last,
    and is given the time.
    """
    waiting = [item for item in items if "digits_run" in getattr(item, "fixturenames", ())]
    for item in waiting:
        item.add_marker(pytest.mark.timeout(_TRAINING_TIMEOUT_S))
    needing = {item.path for item in waiting}

    def turn(item: pytest.Item) -> int:
        if item.path in needing:
            return 0 if item.path.name == "test_parity.py" else 3
        return 1 if item.path.parent.name == "training" else 2

    items.sort(key=turn)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded of what they saw, from whichever process it came, file by file."""
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    reports.sort(key=lambda report: report.nodeid.partition("::")[0])
    recorded = [pair for report in reports for pair in report.user_properties]
    if lines := [value for name, value in recorded if name == SUMMARY]:
        terminalreporter.section("what was asked")
        for line in lines:
            terminalreporter.line(line)
    if rows := [value for name, value in recorded if name == PROPERTY]:
        terminalreporter.section("faults")
        for line in format_table(rows):
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def digits_run() -> Path:
    """A training run such as the demo's: Xception on the digits, evaluated.

    Training takes minutes, so the run is kept below .local/ until the training code or its libraries change.
    """

    def make(run: Path) -> None:
        run_module("training", "train", *DIGITS, "--output", str(run), "--resume")
        run_module("training", "evaluate", str(run))

    return kept("run", "evaluation.json", make, "training")


def kept(name: str, last: str, make: Callable[[Path], None], *packages: str) -> Path:
    """Return a folder below .local/ that is made anew only when its sources or the libraries have changed.

    Args:
        name: What the folder is called.
        last: The file that is written last.
        make: Fills the folder, also where it was left unfinished.
        packages: The packages whose code it depends on.
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
    """What `evaluate` reported of the demo model."""
    report: dict[str, Any] = json.loads((digits_run / "evaluation.json").read_text())
    return report


class Export(NamedTuple):
    """The demo model as a version folder, and what `export` said of it."""

    folder: Path
    said: str


@pytest.fixture(scope="session")
def export(digits_run: Path) -> Export:
    """The demo model, packaged through the command line; kept, as that takes a minute."""

    def make(home: Path) -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        options = ("--output", str(home / "package"), "--calibration-images", "60")
        done = run_module("training", "export", str(digits_run), *options)
        assert [path.name for path in home.iterdir()] == ["package"]
        assert "╸" not in done.stdout + done.stderr  # NNCF's progress bars
        (home / "said").write_text(done.stdout)

    home = kept("export", "said", make, "training", "engines", "model_store")
    return Export(home / "package", (home / "said").read_text())


@pytest.fixture(scope="session")
def xception_package(export: Export) -> Path:
    """The demo model as a version folder."""
    return export.folder


@pytest.fixture(scope="session")
def xception_golden(xception_package: Path) -> list[Path]:
    """Held-out digits that the demo model recognises, as PNG files; that of number n shows an n."""
    return golden_images(xception_package)


@pytest.fixture(scope="session")
def xception_store_url(xception_package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that holds the demo model as version 1, labelled `stable`."""
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
    """Held-out digits that the tiny model recognises, as PNG files; that of number n shows an n."""
    return golden_images(package)


@pytest.fixture(scope="session")
def store_url(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that holds the tiny model as version 1, labelled `stable`."""
    return publish_alone(package, tmp_path_factory, "store")


@pytest.fixture(scope="session")
def slow_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with as much work for an image as Xception has, for tests in which requests have to wait."""
    return made_once(tmp_path_factory, "slow-package", lambda folder: write_tiny_version(folder, XCEPTION_WORK))


@pytest.fixture(scope="session")
def slow_store_url(slow_package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that holds the slow model as version 1, labelled `stable`."""
    return publish_alone(slow_package, tmp_path_factory, "slow-store")


@pytest.fixture(scope="session")
def demo(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Make services of the tiny model with settings, each in a folder of its own; `with` runs one.

    With another `MODEL_STORE_URL` they serve what that holds.
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
    """Return the golden images of a package, in the order of their names."""
    return sorted((package / "golden").glob("*.png"))


def publish_alone(package: Path, factory: pytest.TempPathFactory, name: str) -> str:
    """Return the URL of a store, shared by all workers, that holds a package as version 1, labelled `stable`."""

    def make(folder: Path) -> None:
        publish(package, Remote.open(f"file://{folder}", publishing=True), "xception", labels=("stable",))

    return f"file://{made_once(factory, name, make)}"
