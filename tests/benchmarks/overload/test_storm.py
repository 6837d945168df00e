from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.load.closed_loop import Report
from benchmarks.load.open_loop import BULK, INTERACTIVE, RequestResult, Span
from benchmarks.measuring.interference import Interference
from benchmarks.overload.storm import AFTER, BEFORE, STORM, Options, Storm, answered_p99_ms, failed, lost, since_sent_ms
from loadtest.load.requests import Outcome

OPTIONS = Options("xception", "auto", 1, 10, 4, 1000, 2, 32, 10, "poisson", 0.3, False)


def seen(
    phase: int,
    due: float,
    seconds: float,
    outcome: Outcome = "good",
    status: int = 200,
    *,
    lag: float | None = 0.0,
    name: str = INTERACTIVE,
) -> RequestResult:
    return RequestResult(phase, name, 2, outcome, status, 0, due, None if lag is None else due + lag, due + seconds)


def storm(*requests: RequestResult, options: Options = OPTIONS) -> Storm:
    """Five seconds of calm, ten of storm, ten of calm."""
    spans = [Span(0, 5, 0.5), Span(5, 15, 5.0), Span(15, 25, 1.0)]
    peak = Report(seconds=10, latencies_ms=[1.0] * 100, requests=125)
    return Storm(options, peak, 1.0, requests, spans, [], Counter(), Interference({}, 0.0, 0.0))


def test_goodput_is_what_was_answered_in_time_while_the_storm_lasted() -> None:
    made = storm(
        seen(BEFORE, 4.9, 0.2),
        seen(STORM, 6, 0.9),
        seen(STORM, 7, 1.1),
        seen(STORM, 8, 0.01, "refused", 429),
        seen(STORM, 14.9, 0.2),
        seen(STORM, 9, 0.5, name=BULK),
    )
    assert made.peak_images == 20
    assert made.cpu_ms_at_peak() == pytest.approx(4)
    assert made.goodput() == pytest.approx(3 * 2 / 10)
    assert made.goodput(BULK) == pytest.approx(2 / 10)
    assert made.share(made.in_time, BULK) == 1
    assert made.count(made.late) == 1
    assert answered_p99_ms(made) == pytest.approx(1100)


def test_cores_that_the_load_takes_are_missing_unless_it_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.overload.storm.available_cpus", lambda: 2)
    answers = [seen(STORM, 6, 0.1) for _ in range(30)]
    assert storm(*answers).left_by_load() == pytest.approx(6 / (20 * (2 - 0.5) / 2))
    apart = replace(OPTIONS, apart=True)
    assert storm(*answers, options=apart).left_by_load() == pytest.approx(6 / 20)


def test_what_the_load_could_not_send_in_time_counts_apart() -> None:
    made = storm(
        seen(STORM, 6, 0.3, "refused", 429, lag=0.29),
        seen(STORM, 7, 0.05, "refused", 429, lag=0.04),
        seen(STORM, 8, 0.0, "not_sent", 0, lag=None),
    )
    assert [one.due for one in made.sent()] == [7]
    assert since_sent_ms(made.refusals(), 0.99) == pytest.approx(10)


def test_each_end_is_one_of_them() -> None:
    ends = [
        seen(STORM, 6, 0.1),
        seen(STORM, 6, 2.0),
        seen(STORM, 6, 1.0, "failed", 504),
        seen(STORM, 6, 0.1, "failed", 500),
        seen(STORM, 6, 0.1, "failed", 0),
        seen(STORM, 6, 0.1, "refused", 503),
    ]
    made = storm(*ends)
    assert [made.in_time(one) for one in ends] == [True, False, False, False, False, False]
    assert [made.late(one) for one in ends] == [False, True, True, False, False, False]
    assert [failed(one) for one in ends] == [False, False, False, True, False, False]
    assert [lost(one) for one in ends] == [False, False, False, False, True, False]


def test_recovery_is_when_answers_are_as_fast_as_before() -> None:
    before = [seen(BEFORE, 1 + number / 50, 0.1) for number in range(200)]
    slow = [seen(AFTER, 15 + number / 50, 0.3) for number in range(40)]
    fast = [seen(AFTER, 15.8 + number / 50, 0.12) for number in range(400)]
    assert storm(*before, *fast).recovery_s() == pytest.approx(0.4)
    assert storm(*before, *slow, *fast).recovery_s() == pytest.approx(0.8)
    assert storm(*before, *slow).recovery_s() == math.inf
    refused = [seen(AFTER, 15 + number / 50, 0.01, "refused", 429) for number in range(400)]
    assert storm(*before, *refused).recovery_s() == math.inf
