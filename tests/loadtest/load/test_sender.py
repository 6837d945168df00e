from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from loadtest.load.arrivals import schedule
from loadtest.load.client import Client
from loadtest.load.requests import Mix
from loadtest.load.sender import Phase, Sender
from loadtest.load.stats import RequestStats

from .slow_service import Slow, in_gevent, slow_service

RATE, SECONDS = 100.0, 1.5


def load(
    how: str,
    rate: float,
    callers: int,
    send: Callable[[Sender], None],
    max_in_flight: int = 500,
    seconds: float = SECONDS,
) -> RequestStats:
    """Put load on a service for a while and return what was counted."""

    def run(url: str) -> RequestStats:
        told: list[str] = []
        sender = Sender(
            Client(url, 30.0),
            Mix.of("single", how),
            "poisson",
            max_in_flight=max_in_flight,
            seed="1",
            observe=lambda asked: told.append(asked.error),
        )

        def forever() -> None:
            while True:
                send(sender)

        greenlets = [gevent.spawn(forever) for _ in range(callers)]
        sender.begin(Phase(1, seconds, rate, 0, 1))
        gevent.sleep(seconds)
        sender.rest()
        sender.drain(30.0)
        gevent.killall(greenlets)
        entry = sender.take_stats().of(1, "single")
        assert len(told) == entry.asked
        return entry

    with slow_service() as url:
        return in_gevent(lambda: run(url))


def test_latency_counts_from_when_a_request_was_due() -> None:
    """A service that manages 50 a second at most is asked 100 a second: the longer it goes, the longer they wait."""
    open_loop = load("slow", RATE, 1, Sender.send_by_schedule)
    closed_loop = load("slow", 0.0, 1, Sender.send_in_turn)
    due = list(schedule("poisson", RATE, SECONDS, seed="1/1"))
    # All of them were asked, and the last cannot have been answered before all had their turn.
    assert open_loop.asked == open_loop.good == len(due)
    assert open_loop.latency.percentile(1.0) >= 1000 * (len(due) * Slow.seconds - SECONDS)
    assert open_loop.images_meanwhile <= SECONDS / Slow.seconds + 1 < open_loop.images
    # The one client of a closed loop asks only as often as it is answered, and notices nothing.
    assert closed_loop.asked <= SECONDS / Slow.seconds + 1
    assert closed_loop.latency.percentile(0.5) < open_loop.latency.percentile(0.5)


def test_what_cannot_be_sent_is_counted() -> None:
    entry = load("slow", RATE, 1, Sender.send_by_schedule, max_in_flight=5)
    assert entry.asked == len(list(schedule("poisson", RATE, SECONDS, seed="1/1")))
    assert entry.not_sent > 0
    assert entry.good == entry.asked - entry.not_sent


def test_a_client_that_was_refused_waits_as_it_was_told() -> None:
    entry = load("full", 0.0, 3, Sender.send_in_turn, seconds=0.5)
    assert (entry.refused, entry.asked) == (3, 3)


@pytest.mark.parametrize(("how", "outcome"), [("broken", "failed"), ("away", "refused")])
def test_failures_and_refusals_are_counted_apart(how: str, outcome: str) -> None:
    entry = load(how, 50.0, 1, Sender.send_by_schedule, seconds=0.5)
    assert getattr(entry, outcome) == entry.asked > 0
    assert len(entry.latency) == 0


def test_what_was_due_is_asked_though_the_generator_falls_behind() -> None:
    """No process sends so many: those that are overdue when the phase ends must not be forgotten."""
    rate, seconds = 40_000.0, 0.25
    entry = load("good", rate, 1, Sender.send_by_schedule, max_in_flight=5, seconds=seconds)
    assert entry.asked == len(list(schedule("poisson", rate, seconds, seed="1/1")))
