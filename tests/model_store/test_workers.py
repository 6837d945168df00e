from __future__ import annotations

import threading
import time

import pytest

from model_store.workers import Stop, Stopped, for_each


def test_results_are_in_order() -> None:
    def slow_first(item: int, stop: Stop) -> int:
        time.sleep(0.05 / (item + 1))
        return item * item

    assert for_each(range(6), slow_first) == [0, 1, 4, 9, 16, 25]


def test_the_first_failure_stops_the_others() -> None:
    begun: list[int] = []

    def work(item: int, stop: Stop) -> None:
        begun.append(item)
        if item == 0:
            raise KeyError("first")
        for _ in range(1000):
            stop.check()
            time.sleep(0.01)

    start = time.monotonic()
    with pytest.raises(KeyError, match="first"):
        for_each(range(50), work)
    assert time.monotonic() - start < 2
    assert len(begun) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("model-store")]


def test_a_stop_reaches_inner_workers_only() -> None:
    outer = Stop()
    inner, other = Stop(outer), Stop(outer)
    inner.set()
    outer.check()
    other.check()
    with pytest.raises(Stopped):
        inner.check()
    outer.set()
    with pytest.raises(Stopped):
        other.check()


def test_a_stop_ends_a_wait() -> None:
    outer = Stop()
    Stop(outer).wait(0.01)
    threading.Timer(0.1, outer.set).start()
    start = time.monotonic()
    with pytest.raises(Stopped):
        Stop(outer).wait(20)
    assert time.monotonic() - start < 5
