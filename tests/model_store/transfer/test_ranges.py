from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from model_store.errors import IntegrityError, ObjectNotFoundError
from model_store.store.remote import Remote, Stream
from model_store.transfer.ranges import RANGE_BYTES, WINDOW, Transfer
from model_store.workers import Stop, Stopped, for_each
from tests.ceph import Ceph

SIZE = 15 * RANGE_BYTES + 1


class Counting(Remote):
    """Knows which ranges were asked for."""

    def __init__(self, url: str) -> None:
        inner = Remote.open(url)
        super().__init__(inner._connect, inner.url)
        self.starts: list[tuple[str, int]] = []
        self.changed = threading.Condition()

    def stream(self, path: str, start: int = 0, end: int | None = None) -> Stream:
        with self.changed:
            self.starts.append((path, start))
            self.changed.notify_all()
        return super().stream(path, start, end)


@pytest.fixture(scope="module")
def data(big_bytes: bytes) -> bytes:
    return (big_bytes * 4)[:SIZE]


@pytest.fixture(scope="module")
def url(ceph: Ceph, data: bytes) -> Iterator[str]:
    """A store with one large object, which tests only read."""
    bucket = ceph.make_bucket()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ceph.owner.environment(ceph.endpoint).items():
            patch.setenv(name, value)
        Remote.open(f"s3://{bucket}", publishing=True).upload("m/a", iter([data]), SIZE)
    yield f"s3://{bucket}"
    ceph.remove_bucket(bucket)


@pytest.fixture
def remote(ceph: Ceph, url: str, monkeypatch: pytest.MonkeyPatch) -> Counting:
    for name, value in ceph.owner.environment(ceph.endpoint).items():
        monkeypatch.setenv(name, value)
    return Counting(url)


@pytest.mark.parametrize("start", [0, 1, RANGE_BYTES, SIZE - RANGE_BYTES, SIZE - 1])
def test_the_bytes_come_in_order(remote: Counting, data: bytes, start: int) -> None:
    with Transfer(remote) as transfer:
        assert b"".join(transfer.blocks("m/a", SIZE, start, Stop())) == data[start:]
    assert sorted(remote.starts) == [("m/a", at) for at in range(start, SIZE, RANGE_BYTES)]


def test_a_slow_taker_is_not_run_ahead_of(remote: Counting) -> None:
    with Transfer(remote) as transfer:
        blocks = transfer.blocks("m/a", SIZE, 0, Stop())
        next(blocks)
        with remote.changed:
            assert remote.changed.wait_for(lambda: len(remote.starts) == WINDOW, timeout=10)
        time.sleep(0.3)
        assert len(remote.starts) == WINDOW
        blocks.close()  # type: ignore[attr-defined]
    assert len(remote.starts) == WINDOW


def test_several_files_share_the_window_and_all_come_through(remote: Counting, data: bytes) -> None:
    running, most, lock = 0, 0, threading.Lock()
    take = remote.stream

    def watched(path: str, start: int = 0, end: int | None = None) -> Stream:
        nonlocal running, most
        inner = take(path, start, end)

        def blocks() -> Iterator[bytes]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            try:
                yield from inner
            finally:
                with lock:
                    running -= 1

        return Stream(blocks(), inner.size, inner.etag)

    remote.stream = watched  # type: ignore[method-assign]
    with Transfer(remote) as transfer:
        found = for_each(range(4), lambda _, stop: b"".join(transfer.blocks("m/a", SIZE, 0, stop)), threads=4)
    assert found == [data] * 4
    assert 1 < most <= WINDOW


def test_a_wish_to_stop_ends_it(remote: Counting) -> None:
    stop = Stop()
    with Transfer(remote) as transfer:
        blocks = transfer.blocks("m/a", SIZE, 0, stop)
        next(blocks)
        stop.set()
        with pytest.raises(Stopped):
            for _ in blocks:
                pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("model-store")]


@pytest.mark.parametrize("promised", [SIZE - 1, SIZE + 1, SIZE + 20 * RANGE_BYTES])
def test_another_size_is_told_at_once(remote: Counting, promised: int) -> None:
    start = time.monotonic()
    with Transfer(remote) as transfer, pytest.raises(IntegrityError, match=f"expected {promised} bytes, found {SIZE}"):
        list(transfer.blocks("m/a", promised, 0, Stop()))
    assert time.monotonic() - start < 5


def test_what_is_not_there(remote: Counting) -> None:
    with Transfer(remote) as transfer, pytest.raises(ObjectNotFoundError, match="m/none: not found"):
        list(transfer.blocks("m/none", SIZE, 0, Stop()))
