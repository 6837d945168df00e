"""The store goes away, or the disk fills up, while callers ask: what serves goes on serving."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from service.settings import MIB
from tests.model_store.web_server import serve_folder
from tests.server import Server
from tests.slow_link import SlowLink

from .faulty_service import metric
from .table import RecordFault, Row
from .test_processes import EIGHT_CLIENTS
from .traffic import PREDICT, Traffic
from .versions import Start, Store, ask, named_and_real, states, wait_until

SOON_S = 60.0
"""A guard against waiting for ever: a version is pulled, loaded and warmed beside eight clients."""


DISK_BYTES = 128 * MIB
"""What may be filled, in memory."""


class DistantStore:
    """A store behind a line that can be cut, and what its versions answer."""

    def __init__(self, folder: Path, packages: dict[str, Path], link: SlowLink) -> None:
        self.link = link
        self._store = Store(folder, packages)
        self._shifts: dict[int, int] = {}

    @property
    def settings(self) -> dict[str, str]:
        """Return those of a service that asks this store all the time."""
        return {
            **self._store.settings,
            "MODEL_STORE_URL": self.link.endpoint,
            "MODEL_POLL_S": "0.5",
            "MODEL_STORE_TIMEOUT_S": "2",
            "LOAD_RETRY_MAX_S": "1",
        }

    def publish(self, shift: int) -> int:
        """Publish the version that takes digit d for the class d + `shift`, and have the label lead to it."""
        version = self._store.publish(str(shift), "stable")
        self._shifts[version] = shift
        return version

    def cut(self) -> None:
        """Cut the line, and let nothing through any more."""
        self.link.cut_after = 0

    def is_right(self, answer: httpx.Response) -> bool:
        """Tell whether the scores are those of the version that the answer names."""
        version, shift = named_and_real(answer)
        return self._shifts.get(version) == shift

    def traffic(self, server: Server, body: bytes) -> Traffic:
        return Traffic(server.url, body, self.is_right)

    def wait_for_version(self, server: Server, body: bytes, version: int) -> None:
        wait_until(lambda: ask(server, body) == (version, self._shifts[version]), SOON_S)


@contextmanager
def distant_store(folder: Path, packages: dict[str, Path]) -> Iterator[DistantStore]:
    with serve_folder(folder / "store") as url, SlowLink(int(url.rpartition(":")[2])) as link:
        yield DistantStore(folder, packages, link)


@pytest.fixture
def distant(tmp_path: Path, packages: dict[str, Path]) -> Iterator[DistantStore]:
    with distant_store(tmp_path, packages) as store:
        yield store


@pytest.fixture(scope="module")
def followed(
    packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DistantStore, Server]]:
    """A store and the service that follows it; each test leaves it with a version that serves."""
    folder = tmp_path_factory.mktemp("followed")
    with distant_store(folder, packages) as store:
        store.publish(1)
        with Server(folder / "server", **store.settings) as server:
            yield store, server


def test_gone_at_the_start_the_cache_serves(
    distant: DistantStore, started: Start, tmp_path: Path, eight: bytes, record_fault: RecordFault
) -> None:
    distant.publish(1)
    settings = {**distant.settings, "MODEL_CACHE_DIR": str(tmp_path / "cache")}
    first = started(**settings)
    first.wait_for("/readyz")
    assert first.stop() == 0
    distant.cut()
    server = started(**settings)
    server.wait_for("/readyz")
    assert "falling back to version 1, which served last" in server.log
    with distant.traffic(server, eight) as traffic:
        traffic.wait_for_answers(50)
        distant.link.mend()
        distant.wait_for_version(server, eight, distant.publish(2))
        traffic.wait_for_answers(30)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row("store: away at the start, cache warm", EIGHT_CLIENTS, traffic.tally, None))


def test_gone_at_the_start_with_nothing_in_the_cache_it_is_waited_for(
    distant: DistantStore, started: Start, eight: bytes, record_fault: RecordFault
) -> None:
    distant.publish(1)
    distant.cut()
    server = started(**distant.settings)
    server.wait_for("/livez")
    with distant.traffic(server, eight) as traffic:
        wait_until(lambda: "reachable" in server.client.post(PREDICT, content=eight).json()["error"], SOON_S)
        wait_until(lambda: traffic.tally.refused > 20, SOON_S)
        refused = server.client.post(PREDICT, content=eight)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "check that it is up and reachable" in refused.json()["error"]
        assert server.client.get("/readyz").status_code == 503
        at = time.monotonic()
        distant.link.mend()
        traffic.wait_for_answers(30)
        assert server.client.get("/readyz").status_code == 200
    tally = traffic.tally
    assert tally.answered + tally.refused == tally.sent, tally
    record_fault(Row("store: away at the start, cache empty", EIGHT_CLIENTS, tally, traffic.longest_gap_s(at)))


def test_gone_at_a_poll_nothing_changes_until_it_is_back(
    followed: tuple[DistantStore, Server], eight: bytes, record_fault: RecordFault
) -> None:
    store, server = followed
    failed = 'xception_store_requests_total{model="xception",result="failed"}'
    with store.traffic(server, eight) as traffic:
        traffic.wait_for_answers(30)
        before, serving = metric(server, failed), ask(server, eight)
        store.cut()
        wait_until(lambda: metric(server, failed) > before + 1, SOON_S)
        version = store.publish(1)
        traffic.wait_for_answers(50)
        assert ask(server, eight) == serving
        assert server.client.get("/readyz").status_code == 200
        store.link.mend()
        store.wait_for_version(server, eight, version)
        traffic.wait_for_answers(30)
    assert "the labels cannot be read from the store" in server.log
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row("store: away at a poll", EIGHT_CLIENTS, traffic.tally, None))


def test_gone_in_the_middle_of_a_pull_the_old_version_serves_on(
    followed: tuple[DistantStore, Server], eight: bytes, record_fault: RecordFault
) -> None:
    store, server = followed
    failed = 'xception_model_failures_total{error_code="UNAVAILABLE"'
    with store.traffic(server, eight) as traffic:
        traffic.wait_for_answers(30)
        before, serving = metric(server, failed), ask(server, eight)
        store.link.mend()
        store.link.cut_after = 20 * MIB
        version = store.publish(2)
        wait_until(lambda: metric(server, failed) > before, SOON_S)
        assert store.link.received >= 20 * MIB
        traffic.wait_for_answers(50)
        assert ask(server, eight) == serving
        assert states(server)[version][0] != "AVAILABLE"
        store.link.mend()
        store.wait_for_version(server, eight, version)
        traffic.wait_for_answers(30)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row("store: away in the middle of a pull", EIGHT_CLIENTS, traffic.tally, None))


def test_a_disk_that_takes_no_more_leaves_the_old_version_serving(
    followed: tuple[DistantStore, Server], eight: bytes, record_fault: RecordFault
) -> None:
    """No file of the runner may grow beyond 8 MiB: writing fails halfway, as it does on a disk that fills up."""
    store, server = followed
    failed = 'xception_model_failures_total{error_code="RESOURCE_EXHAUSTED"'
    runner = server.runner()
    limits = runner.rlimit(psutil.RLIMIT_FSIZE)
    with store.traffic(server, eight) as traffic:
        traffic.wait_for_answers(30)
        before, serving = metric(server, failed), ask(server, eight)
        runner.rlimit(psutil.RLIMIT_FSIZE, (8 * MIB, limits[1]))
        try:
            version = store.publish(3)
            wait_until(lambda: metric(server, failed) > before, SOON_S)
            traffic.wait_for_answers(50)
            assert ask(server, eight) == serving
        finally:
            runner.rlimit(psutil.RLIMIT_FSIZE, limits)
        store.wait_for_version(server, eight, version)
        traffic.wait_for_answers(30)
    assert server.runner().pid == runner.pid
    assert f"version {version} (label 'stable') cannot be served" in server.log
    assert "File too large; check the folder and its rights" in server.log
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    record_fault(Row("disk: files of 8 MiB at most, in the middle of a pull", EIGHT_CLIENTS, traffic.tally, None))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds two versions. Where it may not be mounted, but in CI, there is no test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no file system may be mounted: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more goes in."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while shutil.disk_usage(disk).free:
            with suppress(OSError):
                file.write(bytes(MIB))
    return ballast


def test_a_disk_that_is_full_leaves_the_old_version_serving(
    distant: DistantStore, started: Start, small_disk: Path, eight: bytes, record_fault: RecordFault
) -> None:
    """Somebody else fills the disk while a version comes in, for which there was room when the pull began."""
    distant.publish(1)
    server = started(**distant.settings, MODEL_CACHE_DIR=str(small_disk / "cache"))
    server.wait_for("/readyz")
    failed = 'xception_model_failures_total{error_code="RESOURCE_EXHAUSTED"'
    with distant.traffic(server, eight) as traffic:
        traffic.wait_for_answers(30)
        before, serving = metric(server, failed), ask(server, eight)
        distant.link.rate = 2 * MIB
        version = distant.publish(3)
        wait_until(lambda: pulled_bytes(small_disk / "cache") > MIB, SOON_S)
        ballast = fill(small_disk)
        wait_until(lambda: metric(server, failed) > before, SOON_S)
        traffic.wait_for_answers(50)
        assert ask(server, eight) == serving
        distant.link.rate = 0
        ballast.unlink()
        distant.wait_for_version(server, eight, version)
        traffic.wait_for_answers(30)
    assert f"version {version} (label 'stable') cannot be served" in server.log
    assert "the disk is full (" in server.log
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    assert server.stop() == 0
    record_fault(Row("disk: full in the middle of a pull", EIGHT_CLIENTS, traffic.tally, None))


def pulled_bytes(cache: Path) -> int:
    """Return how much of a version is under way."""
    found = 0
    for part in (cache / ".incoming" / "parts").glob("sha256-*"):
        with suppress(FileNotFoundError):
            found += part.stat().st_size
    return found
