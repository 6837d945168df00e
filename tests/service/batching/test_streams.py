"""Whose turn it is on the cores."""

from __future__ import annotations

import time

import pytest

from service.batching.streams import Slot, Streams
from service.batching.tuning import BatchProfile


def taken(*turns: Slot) -> Streams:
    streams = Streams()
    for slot in turns:
        streams.occupy(slot)
    return streams


ALONE = Slot(None, 1)


def known(streams: int) -> BatchProfile:
    return BatchProfile(streams, batch_size=4)


@pytest.mark.parametrize(
    ("running", "profile", "waiting", "expected"),
    [
        ((), known(1), 9, Slot(None, 4)),
        ((), known(2), 1, Slot(None, 1)),
        ((), known(2), 2, Slot(0, 1)),
        ((), known(2), 3, Slot(0, 2)),
        ((), known(2), 99, Slot(0, 4)),
        ((), known(16), 3, Slot(0, 1)),
        ((Slot(0, 1),), known(2), 1, Slot(1, 1)),
        ((Slot(1, 1),), known(2), 3, Slot(0, 3)),
        ((Slot(0, 1), Slot(1, 1)), known(2), 3, None),
        ((ALONE,), known(2), 3, None),
        ((ALONE,), known(1), 3, None),
        ((Slot(0, 1),), known(1), 3, None),
        ((Slot(0, 1), Slot(1, 1), Slot(2, 1)), known(2), 3, None),
    ],
)
def test_the_next_turn(running: tuple[Slot, ...], profile: BatchProfile, waiting: int, expected: Slot | None) -> None:
    assert taken(*running).next(profile, waiting) == expected


def test_a_lone_image_among_many_takes_a_lane() -> None:
    streams = Streams()
    assert streams.next(known(2), 3) == Slot(0, 2)
    assert streams.next(known(2), 1) == Slot(0, 1)
    time.sleep(0.06)
    assert streams.next(known(2), 1) == Slot(None, 1)


def test_a_place_is_given_back() -> None:
    streams = taken(Slot(0, 1), Slot(1, 1))
    assert streams.running == 2
    streams.release(Slot(0, 1))
    assert streams.next(known(2), 5) == Slot(0, 4)
    streams.release(Slot(1, 1))
    streams.occupy(ALONE)
    assert streams.running == 1
    streams.release(ALONE)
    time.sleep(0.06)
    assert streams.next(known(2), 1) == Slot(None, 1)
