from __future__ import annotations

from functools import partial

import pytest

from benchmarks.measuring.batch_speed import BatchSpeed, time_batches


def test_each_lane_runs_a_batch_in_any_case() -> None:
    ran: list[int] = []
    speed = time_batches([partial(ran.append, 0), partial(ran.append, 1)], images=4, seconds=0)
    assert sorted(ran) == [0, 1]
    assert speed.rate > 0


def test_what_a_lane_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        time_batches([partial(divmod, 1, 0)], images=1, seconds=0)


def test_an_average_is_that_of_each_figure() -> None:
    assert BatchSpeed.average([BatchSpeed(100, 8, 2), BatchSpeed(300, 6, 4)]) == BatchSpeed(200, 7, 3)
