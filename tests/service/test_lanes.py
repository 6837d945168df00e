"""Whose turn it is on the cores."""

from __future__ import annotations

import time

import pytest

from service.lanes import Lanes, Turn
from service.learned import Learned


def taken(*turns: Turn) -> Lanes:
    lanes = Lanes()
    for turn in turns:
        lanes.enter(turn)
    return lanes


ALONE = Turn(None, 1)


def known(lanes: int) -> Learned:
    return Learned(lanes, batch_size=4)


@pytest.mark.parametrize(
    ("running", "learned", "waiting", "expected"),
    [
        ((), known(1), 9, Turn(None, 4)),
        ((), known(2), 1, Turn(None, 1)),
        ((), known(2), 2, Turn(0, 1)),
        ((), known(2), 3, Turn(0, 2)),
        ((), known(2), 99, Turn(0, 4)),
        ((), known(16), 3, Turn(0, 1)),
        ((Turn(0, 1),), known(2), 1, Turn(1, 1)),
        ((Turn(1, 1),), known(2), 3, Turn(0, 3)),
        ((Turn(0, 1), Turn(1, 1)), known(2), 3, None),
        ((ALONE,), known(2), 3, None),
        ((ALONE,), known(1), 3, None),
        ((Turn(0, 1),), known(1), 3, None),
        ((Turn(0, 1), Turn(1, 1), Turn(2, 1)), known(2), 3, None),
    ],
)
def test_the_next_turn(running: tuple[Turn, ...], learned: Learned, waiting: int, expected: Turn | None) -> None:
    assert taken(*running).next(learned, waiting) == expected


def test_a_lone_image_among_many_takes_a_lane() -> None:
    lanes = Lanes()
    assert lanes.next(known(2), 3) == Turn(0, 2)
    assert lanes.next(known(2), 1) == Turn(0, 1)
    time.sleep(0.06)
    assert lanes.next(known(2), 1) == Turn(None, 1)


def test_a_place_is_given_back() -> None:
    lanes = taken(Turn(0, 1), Turn(1, 1))
    assert lanes.running == 2
    lanes.leave(Turn(0, 1))
    assert lanes.next(known(2), 5) == Turn(0, 4)
    lanes.leave(Turn(1, 1))
    lanes.enter(ALONE)
    assert lanes.running == 1
    lanes.leave(ALONE)
    time.sleep(0.06)
    assert lanes.next(known(2), 1) == Turn(None, 1)
