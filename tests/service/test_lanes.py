"""Whose turn it is on the cores."""

from __future__ import annotations

import pytest

from service.lanes import Lanes, Turn
from service.learned import Learned


def taken(*turns: Turn) -> Lanes:
    lanes = Lanes()
    for turn in turns:
        lanes.enter(turn)
    return lanes


ALONE = Turn(None, 1)


def known(lanes: int, *, enough: int = 1, alone_max: int = 1) -> Learned:
    return Learned(lanes, batch_size=4, enough=enough, alone_max=alone_max)


@pytest.mark.parametrize(
    ("running", "learned", "waiting", "expected"),
    [
        ((), known(1), 9, Turn(None, 4)),
        ((), known(2), 1, Turn(None, 4)),
        ((), known(2), 2, Turn(0, 1)),
        ((), known(2), 3, Turn(0, 2)),
        ((), known(2), 99, Turn(0, 4)),
        ((), known(16), 3, Turn(0, 1)),
        ((), known(2, alone_max=6), 6, Turn(None, 6)),  # As cheap on all cores as in lanes, by what is known.
        ((), known(2, alone_max=6), 7, Turn(0, 4)),
        ((Turn(0, 1),), known(2), 1, Turn(1, 1)),
        ((Turn(1, 1),), known(2), 3, Turn(0, 3)),
        ((Turn(1, 1),), known(2, enough=2), 1, None),
        ((Turn(1, 1),), known(2, enough=2), 2, Turn(0, 2)),
        ((Turn(0, 1), Turn(1, 1)), known(2), 3, None),
        ((ALONE,), known(2), 3, None),
        ((ALONE,), known(1), 3, None),
        ((Turn(0, 1),), known(1), 3, None),
        ((Turn(0, 1), Turn(1, 1), Turn(2, 1)), known(2), 3, None),
    ],
)
def test_the_next_turn(running: tuple[Turn, ...], learned: Learned, waiting: int, expected: Turn | None) -> None:
    assert taken(*running).next(learned, waiting) == expected


def test_all_cores_are_for_what_is_done_sooner_there() -> None:
    learned = known(2, alone_max=8)
    for size in (1, 2, 4, 8):
        learned.cost.observe(size, 0.010 * size)
        learned.alone.observe(size, 0.004 + 0.004 * size)
    assert Lanes().next(learned, 2) == Turn(0, 1)
    assert Lanes().next(learned, 1) == Turn(None, 4)
    assert Lanes().next(learned, 7) == Turn(None, 7)


def test_a_place_is_given_back() -> None:
    lanes = taken(Turn(0, 1), Turn(1, 1))
    assert lanes.running == 2
    lanes.leave(Turn(0, 1))
    assert lanes.next(known(2), 5) == Turn(0, 4)
    lanes.leave(Turn(1, 1))
    lanes.enter(ALONE)
    assert lanes.running == 1
    lanes.leave(ALONE)
    assert lanes.next(known(2), 1) == Turn(None, 4)
