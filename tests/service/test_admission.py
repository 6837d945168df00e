from __future__ import annotations

import pytest

from service.admission import Admission, Deadline
from service.errors import NotReadyError, OverloadedError


def test_places_are_bounded_and_given_back() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.admit(Deadline(1)), admission.admit(Deadline(1)):
        with pytest.raises(OverloadedError, match="2 requests are in flight"), admission.admit(Deadline(1)):
            pass
        assert admission.requests == 2
    assert admission.requests == 0
    with admission.admit(Deadline(1)):
        assert admission.requests == 1


def test_bytes_are_bounded_and_given_back_also_after_an_error() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    with admission.admit(Deadline(1), size=60) as permit:
        permit.reserve(40)
        assert admission.bytes == 100
    with (
        pytest.raises(OverloadedError, match="60 bytes; 50 more are over the 100"),
        admission.admit(Deadline(1), size=60) as permit,
    ):
        permit.reserve(50)
    assert (admission.bytes, admission.requests) == (0, 0)
    with pytest.raises(OverloadedError), admission.admit(Deadline(1), size=101):
        pass
    assert (admission.bytes, admission.requests) == (0, 0)


def test_closed_admits_nobody_and_lets_those_inside_finish() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.admit(Deadline(1)) as permit:
        admission.close()
        permit.reserve(10)
        with pytest.raises(NotReadyError, match="shutting down"), admission.admit(Deadline(1)):
            pass
