"""Faults with a real S3 server: slow and broken links, killed servers and clients."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_store.catalog.labels import read_labels
from model_store.catalog.reference import Resolved, resolve
from model_store.catalog.versions import list_versions
from model_store.errors import IntegrityError, UnavailableError
from model_store.store.remote import Remote, Stream
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import check_remote, pull, pull_to_folder
from model_store.transfer.ranges import RANGE_BYTES, WINDOW
from tests.ceph import Ceph
from tests.model_store.samples import contents, kept, parts, start_python, visible, write_version
from tests.slow_link import SlowLink

SIZE = 60_000_000

RATE = 8e6
"""Bytes per second of a connection: a window of ranges takes half a second, the whole on one connection 7.5."""

SLACK = 200_000
"""Bytes of headers, and of data in flight when a connection was cut."""

HELD = RANGE_BYTES * WINDOW + 2_000_000
"""Bytes after which a link stalls: more than one window, so that the first range is kept, but not the whole."""

CLI = "import sys; from model_store.cli.app import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = random.Random(2).randbytes(SIZE)
    return write_version(tmp_path_factory.mktemp("large") / "version", {"saved_model.pb": data})


@pytest.fixture(scope="module")
def digest(large: Path) -> str:
    return hashlib.sha256((large / "saved_model.pb").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def large_url(ceph: Ceph, large: Path) -> Iterator[str]:
    """A store with the large version; tests only read it."""
    bucket = ceph.make_bucket()
    url = f"s3://{bucket}/models"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ceph.owner.environment(ceph.endpoint).items():
            patch.setenv(name, value)
        publish(large, Remote.open(url, publishing=True), "xception", labels=["stable"])
    yield url
    ceph.remove_bucket(bucket)


@pytest.fixture
def link(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowLink]:
    """The link to the server, without limits until a test sets some."""
    with SlowLink(int(ceph.endpoint.rpartition(":")[2])) as line:
        for name, value in {**ceph.owner.environment(line.endpoint), "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        yield line


@pytest.fixture
def resolved(large_url: str, link: SlowLink) -> Resolved:
    found = resolve(Remote.open(large_url), "xception")
    link.mend()
    return found


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def start_pull(url: str, cache: Cache, *more: str) -> subprocess.Popen[str]:
    return start_python(CLI, "pull", "xception:1", "--store", url, "--cache", str(cache.root), "--json", *more)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ctrl-c"])
def test_an_interrupted_pull_fetches_only_what_is_missing(
    large_url: str, link: SlowLink, resolved: Resolved, large: Path, cache: Cache, digest: str, sign: signal.Signals
) -> None:
    link.rate = RATE / 8  # Seconds remain for the signal to come.
    process = start_pull(large_url, cache)
    wait_until(lambda: kept(cache.root).get(digest))
    process.send_signal(sign)
    process.communicate(timeout=30)
    assert process.returncode == (130 if sign == signal.SIGINT else -sign)
    assert visible(cache.root) == []
    assert parts(cache.root) == []
    had = kept(cache.root)[digest]
    assert 0 < had < SIZE
    assert link.received - had <= RANGE_BYTES * WINDOW + SLACK * WINDOW

    link.mend()
    link.rate = 0
    model = pull(Remote.open(large_url), resolved, cache)
    assert contents(model.root) == contents(large)
    assert SIZE - had <= link.received < SIZE - had + SLACK
    assert kept(cache.root) == {}


def test_two_processes_with_one_cache_fetch_once(
    large_url: str, link: SlowLink, resolved: Resolved, large: Path, cache: Cache
) -> None:
    link.rate = RATE * 4
    running = [start_pull(large_url, cache) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    (root,) = {json.loads(out)["path"] for out, _ in answers}
    assert contents(Path(root)) == contents(large)
    assert SIZE < link.received < SIZE + 2 * SLACK
    assert parts(cache.root) == []


def test_a_slow_link_is_used_by_several_connections(
    large_url: str, link: SlowLink, resolved: Resolved, cache: Cache, large: Path
) -> None:
    link.rate, link.latency_s = RATE, 0.02
    start = time.monotonic()
    model = pull(Remote.open(large_url), resolved, cache)
    assert time.monotonic() - start < SIZE / RATE / 2
    assert contents(model.root) == contents(large)


def test_broken_connections_are_resumed(
    large_url: str, link: SlowLink, resolved: Resolved, cache: Cache, large: Path
) -> None:
    link.cut_each = 3_000_000
    model = pull(Remote.open(large_url), resolved, cache)
    assert contents(model.root) == contents(large)
    assert link.connections >= SIZE / link.cut_each


def test_a_cut_link_is_an_error_in_time_and_the_pull_can_be_resumed(
    large_url: str, link: SlowLink, resolved: Resolved, large: Path, cache: Cache, digest: str
) -> None:
    link.rate, link.cut_after = RATE, SIZE - 1_000_000
    start = time.monotonic()
    with pytest.raises(UnavailableError, match=r"saved_model\.pb: the store did not answer"):
        pull(Remote.open(large_url, patience_s=2), resolved, cache)
    assert time.monotonic() - start < 10
    assert visible(cache.root) == []
    had = kept(cache.root)[digest]
    link.mend()
    assert contents(pull(Remote.open(large_url), resolved, cache).root) == contents(large)
    assert SIZE - had <= link.received < SIZE - had + SLACK


def test_a_stalled_link_is_an_error_in_time(
    large_url: str, link: SlowLink, resolved: Resolved, cache: Cache, digest: str
) -> None:
    link.stall_after = HELD
    start = time.monotonic()
    with pytest.raises(UnavailableError, match=r": the store did not answer"):  # About whichever file stalls first.
        pull(Remote.open(large_url, patience_s=2), resolved, cache)
    assert time.monotonic() - start < 10
    assert kept(cache.root)[digest] > 0


def test_a_failed_pull_leaves_no_folder(large_url: str, link: SlowLink, resolved: Resolved, tmp_path: Path) -> None:
    link.cut_after = SIZE // 2
    with pytest.raises(UnavailableError):
        pull_to_folder(Remote.open(large_url, patience_s=1), resolved, tmp_path / "out" / "new")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_server_that_is_killed_during_a_pull(
    ceph: Ceph, large_url: str, link: SlowLink, resolved: Resolved, large: Path, cache: Cache, digest: str
) -> None:
    with ceph.gateway() as (endpoint, process):
        link.upstream, link.stall_after = int(endpoint.rpartition(":")[2]), HELD

        def kill() -> None:
            wait_until(lambda: link.received >= HELD and kept(cache.root).get(digest))
            process.kill()
            process.wait()
            link.cut_each, link.stall_after = 0, None  # What was under way is lost with it.

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(UnavailableError, match="check that it is up"):
            pull(Remote.open(large_url, patience_s=2), resolved, cache)
        killer.join()
    had = kept(cache.root)[digest]
    link.mend()
    link.upstream = int(ceph.endpoint.rpartition(":")[2])
    assert contents(pull(Remote.open(large_url), resolved, cache).root) == contents(large)
    assert SIZE - had <= link.received < SIZE - had + SLACK


def test_a_server_that_is_killed_during_a_publish_leaves_no_version(
    ceph: Ceph, ceph_url: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ceph.gateway() as (endpoint, process):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        remote = Remote.open(ceph_url, publishing=True, patience_s=2)
        remote.list_folders()

        class Sending(Remote):
            def upload(self, path: str, blocks: Iterator[bytes], size: int) -> None:
                def counted() -> Iterator[bytes]:
                    for number, block in enumerate(blocks):
                        if number == 30:
                            process.kill()
                        yield block

                super().upload(path, counted(), size)

        with pytest.raises(UnavailableError, match="check that it is up"):
            publish(large, Sending(remote._connect, remote.url), "xception", labels=["stable"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph.endpoint)
    remote = Remote.open(ceph_url, publishing=True)
    assert list_versions(remote, "xception") == []
    assert read_labels(remote, "xception") is None
    assert publish(large, remote, "xception", labels=["stable"]).version == 2
    check_remote(remote, resolve(remote, "xception"))


def test_an_object_replaced_while_it_is_read_is_rejected(ceph_url: str, large: Path, cache: Cache) -> None:
    publish(large, Remote.open(ceph_url, publishing=True), "xception")
    other = random.Random(3).randbytes(SIZE)

    class Replacing(Remote):
        done = False

        def stream(self, path: str, start: int = 0, end: int | None = None) -> Stream:
            if start >= WINDOW * RANGE_BYTES and not self.done:
                self.done = True
                self.upload(path, iter([other]), SIZE)
            return super().stream(path, start, end)

    inner = Remote.open(ceph_url, publishing=True)
    remote = Replacing(inner._connect, inner.url)
    with pytest.raises(IntegrityError, match=r"saved_model\.pb: was replaced while it was read"):
        pull(remote, resolve(remote, "xception", 1), cache)
    assert visible(cache.root) == []
    assert kept(cache.root) == {}
