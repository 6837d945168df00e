from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from service.core.deadline import Deadline, Priority
from service.core.errors import NotReadyError, OverloadedError
from service.edge.admission import Admission, Permit


def test_places_are_bounded_and_given_back() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.admit(Deadline(1)), admission.admit(Deadline(1)):
        with pytest.raises(OverloadedError, match="2 requests are in flight"), admission.admit(Deadline(1)):
            pass
        assert admission.requests == 2
    assert admission.requests == 0
    with admission.admit(Deadline(1)):
        assert admission.requests == 1


def reserve(permit: Permit, *sizes: int) -> None:
    for size in sizes:
        permit.reserve(size)


def test_bytes_are_bounded_and_given_back_also_after_an_error() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    with admission.admit(Deadline(1)) as permit:
        reserve(permit, 60, 40)
        assert admission.bytes == 100
        with (
            pytest.raises(OverloadedError, match="100 bytes; 1 more are over the limit of 100"),
            admission.admit(Deadline(1), size=1),
        ):
            pass
    with (
        pytest.raises(OverloadedError, match="60 bytes; 50 more are over the limit of 100"),
        admission.admit(Deadline(1)) as permit,
    ):
        reserve(permit, 60, 50)
    assert (admission.bytes, admission.requests) == (0, 0)
    with pytest.raises(OverloadedError), admission.admit(Deadline(1), size=101):
        pass
    assert (admission.bytes, admission.requests) == (0, 0)


def test_what_was_announced_takes_nothing_until_it_comes() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    with ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(admission.admit(Deadline(1), size=100))
        assert admission.bytes == 0
        with admission.admit(Deadline(1), size=100) as permit:
            permit.reserve(100)
    assert (admission.bytes, admission.requests) == (0, 0)


def test_who_waits_for_a_slow_body_leaves_the_place_to_others() -> None:
    admission = Admission(max_requests=1, max_bytes=100)
    answer(admission, 0.1)
    with admission.admit(Deadline(5)) as slow:
        slow.reserve(60)
        slow.release_slot()
        assert (admission.requests, admission.bytes, admission.queue_ahead(Priority.INTERACTIVE)) == (0, 60, 0)
        with admission.admit(Deadline(5)):
            with pytest.raises(OverloadedError, match="1 requests are in flight"):
                slow.reacquire_slot()
            assert admission.requests == 1
        time.sleep(0.2)
        for _ in range(2):
            slow.reacquire_slot()
            assert (admission.requests, admission.queue_ahead(Priority.INTERACTIVE)) == (1, 1)
        slow.record_response()
        assert admission.seconds_per_image[Priority.INTERACTIVE] < 0.1  # Waiting for its body taught nothing.
    assert (admission.bytes, admission.requests) == (0, 0)


def test_bulk_fills_three_quarters_of_the_bytes_and_all_only_alone() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    with admission.admit(Deadline(1), Priority.BULK, size=75) as bulk:
        bulk.reserve(75)
        with pytest.raises(OverloadedError, match="1 more are over the limit of 75 for bulk requests"):
            admission.admit(Deadline(1), Priority.BULK, size=1)
        with admission.admit(Deadline(1), size=25) as permit:
            permit.reserve(25)
            with pytest.raises(OverloadedError):
                bulk.reserve(1)
    with admission.admit(Deadline(1), Priority.BULK, size=100) as bulk:
        reserve(bulk, *[10] * 10)
        with pytest.raises(OverloadedError):
            bulk.reserve(1)
    assert (admission.bytes, admission.requests) == (0, 0)


def test_closed_admits_nobody_and_lets_those_inside_finish() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.admit(Deadline(1)) as permit:
        admission.close()
        permit.reserve(10)
        with pytest.raises(NotReadyError, match="shutting down"), admission.admit(Deadline(1)):
            pass


def answer(admission: Admission, seconds: float, images: int = 1, priority: Priority = Priority.INTERACTIVE) -> None:
    """Pretend that requests were answered: a few, so that the average is theirs."""
    for _ in range(100):
        admission.update_estimate(priority, seconds / images)


def test_what_would_come_too_late_is_refused_before_it_is_read() -> None:
    admission = Admission(max_requests=99, max_bytes=100)
    answer(admission, 0.1)
    with ExitStack() as inside:
        for _ in range(9):
            inside.enter_context(admission.admit(Deadline(1.3)))
        inside.enter_context(admission.admit(Deadline(1.3)))  # The tenth: about 1 s, where 1.04 s are taken.
        with (
            pytest.raises(OverloadedError, match="takes about 1100 ms now") as refused,
            admission.admit(Deadline(1.3)),
        ):
            pass
        assert refused.value.retry_after_s == 1
        inside.enter_context(admission.admit(Deadline(5)))  # Who can wait may.
    assert admission.images == {Priority.INTERACTIVE: 0, Priority.BULK: 0}


def test_a_lone_request_is_always_tried_so_that_a_wrong_estimate_heals() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    answer(admission, 60)
    with admission.admit(Deadline(1)) as permit:
        permit.record_response()
    assert admission.seconds_per_image[Priority.INTERACTIVE] < 60


def test_images_count_and_bulk_waits_for_interactive_but_not_the_other_way() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    for priority in Priority:
        answer(admission, 0.1, priority=priority)
    with admission.admit(Deadline(1), Priority.BULK) as bulk:
        bulk.count_images(50)
        with admission.admit(Deadline(1)) as interactive:
            interactive.count_images(3)
            assert (admission.queue_ahead(Priority.INTERACTIVE), admission.queue_ahead(Priority.BULK)) == (3, 53)
            with pytest.raises(OverloadedError), admission.admit(Deadline(1), Priority.BULK):
                pass


def test_the_pace_is_learned_from_answers() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    with admission.admit(Deadline(1)) as permit:
        permit.count_images(4)
        time.sleep(0.04)
        permit.record_response()
    assert 0.01 <= admission.seconds_per_image[Priority.INTERACTIVE] < 0.05


def test_the_earlier_deadline_and_the_named_priority_count() -> None:
    admission = Admission(max_requests=1, max_bytes=1)
    for header_s, body_s, expected_s in [(2.0, 1.0, 1.0), (1.0, 2.0, 1.0), (1.0, None, 1.0)]:
        with admission.admit(Deadline(header_s)) as permit:
            permit.override(body_s, Priority.BULK)
            assert admission.images == {Priority.INTERACTIVE: 0, Priority.BULK: 1}
            permit.count_images(3)
            assert permit.deadline.timeout_s == expected_s
            assert permit.priority == Priority.BULK
            assert admission.images == {Priority.INTERACTIVE: 0, Priority.BULK: 3}
    with admission.admit(Deadline(1.0), Priority.BULK) as permit:
        permit.override(None, None)
        assert permit.priority == Priority.BULK
    assert admission.images == {Priority.INTERACTIVE: 0, Priority.BULK: 0}
