"""The load test, as Locust runs it: `make loadtest`, `make loadtest-ui`, or workers. See docs/guides/load-testing.md.

Each load generator has a `Sender`; the master, or the only process, has a `Scheduler` that directs them all. An API key
comes from the environment only: options are visible in the list of processes, on the page and in reports.
"""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from locust import LoadTestShape, User, constant, events, task
from locust.env import Environment
from locust.exception import CatchResponseError
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerRunner

from loadtest.load.client import Client
from loadtest.load.objectives import ObjectivesError, read_objectives
from loadtest.load.options import LoadOptions, add_options, read_options
from loadtest.load.report import write_report
from loadtest.load.report_folder import report_folder
from loadtest.load.requests import Mix
from loadtest.load.scheduler import PHASE, READY, REST, STATS, Scheduler, say
from loadtest.load.sender import Phase, Sender, SentRequest
from loadtest.load.target import TargetError, require_ready

API_KEY_VARIABLE = "LOADTEST_API_KEY"
"""Holds the key that is sent with every request, where the service asks for one."""

_SPAWN_RATE = 100
"""Clients that a closed loop starts a second; Locust warns of more."""


@dataclass
class State:
    """State of this process for the current or last test."""

    sender: Sender | None = None
    scheduler: Scheduler | None = None


state = State()


class OpenLoop(User):
    """All clients of an open loop that this process sends for."""

    wait_time = constant(0)

    @task
    def send(self) -> None:
        """Send the requests of a phase when they are due."""
        if state.sender is not None:
            state.sender.send_by_schedule()


class ClosedLoop(User):
    """A client that sends its next request as soon as it has its response."""

    wait_time = constant(0)

    @task
    def send(self) -> None:
        """Send one request."""
        if state.sender is not None:
            state.sender.send_in_turn()


class Shape(LoadTestShape):
    """Run as many users as the scheduler needs, until it is done."""

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """Return users, how many start a second, and which; None ends the test."""
        assert self.runner is not None
        scheduler = state.scheduler
        if scheduler is None or scheduler.over:
            if scheduler is not None or not self._begin(self.runner.environment):
                return None
            scheduler = state.scheduler
            assert scheduler is not None
        if scheduler.options.closed:
            return scheduler.options.clients_count, _SPAWN_RATE, [ClosedLoop]
        return len(scheduler.workers), _SPAWN_RATE, [OpenLoop]

    @staticmethod
    def _begin(environment: Environment) -> bool:
        """Start a scheduler, or print the error and return False."""
        assert environment.runner is not None
        try:
            options = options_of(environment)
            require_ready(environment.host or "")
            objectives = read_objectives(Path(options.objectives)).get(options.scenario)
        except (ValueError, ObjectivesError, TargetError) as error:
            say(str(error))
            environment.process_exit_code = 2
            return False
        state.scheduler = Scheduler(environment.runner, options, objectives)
        state.scheduler.start()
        return True


def options_of(environment: Environment) -> LoadOptions:
    """Return the options of the command line, or of the form."""
    assert environment.parsed_options is not None
    return read_options(environment.parsed_options)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: ArgumentParser) -> None:
    """Add the options to those of Locust."""
    add_options(parser)


@events.init.add_listener  # type: ignore[untyped-decorator]
def register(environment: Environment, **_: Any) -> None:
    """Register handlers of the messages to this process."""
    runner = environment.runner
    assert runner is not None
    if not isinstance(runner, WorkerRunner):
        # Locust would not notice it before a headless test is over.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        runner.register_message(READY, _ready)
        runner.register_message(STATS, _stats)
    if not isinstance(runner, MasterRunner):
        runner.register_message(PHASE, _phase)
        runner.register_message(REST, _rest)
        gevent.spawn(_report_forever, environment)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Environment, **_: Any) -> None:
    """Prepare the requests, in each load generator."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        return
    assert runner is not None
    options = options_of(environment)

    def observe(sent: SentRequest) -> None:
        environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="POST",
            name=sent.request.name,
            response_time=sent.ms,
            response_length=len(sent.reply.body) if sent.reply else 0,
            exception=CatchResponseError(sent.error) if sent.error else None,
            context={},
        )

    api_key = os.environ.get(API_KEY_VARIABLE, "").strip()  # Files of secrets often end with a line break.
    client = Client(environment.host or "", options.answer_timeout, api_key)
    mix = Mix.of(options.content, options.model)
    seed = f"{options.seed}/{getattr(runner, 'worker_index', 0)}"
    state.sender = Sender(
        client, mix, options.schedule, max_in_flight=options.max_in_flight, seed=seed, observe=observe
    )
    runner.send_message(READY, {})


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def finish(environment: Environment, **_: Any) -> None:
    """Print the verdict and write the report."""
    if state.sender is not None:
        state.sender.rest()
        _report(environment, resting=False)
    scheduler, state.scheduler = state.scheduler, None
    if scheduler is None:
        return
    scheduler.stop()
    folder = report_folder(scheduler.options)
    met = write_report(scheduler, environment.host or "", folder)
    environment.process_exit_code = 0 if met else 1


def _ready(msg: Message, **_: Any) -> None:
    if state.scheduler is not None:
        state.scheduler.on_ready(msg)


def _stats(msg: Message, **_: Any) -> None:
    if state.scheduler is not None:
        state.scheduler.on_stats(msg)


def _phase(msg: Message, **_: Any) -> None:
    if state.sender is not None:
        state.sender.begin(Phase(**msg.data))


def _rest(environment: Environment, **_: Any) -> None:
    gevent.spawn(_rest_and_report, environment)


def _rest_and_report(environment: Environment) -> None:
    sender = state.sender
    if sender is not None:
        sender.rest()
        sender.drain(options_of(environment).answer_timeout)
        _report(environment, resting=True)


def _report_forever(environment: Environment) -> None:
    while True:
        gevent.sleep(1)
        _report(environment, resting=False)


def _report(environment: Environment, *, resting: bool) -> None:
    if state.sender is not None and environment.runner is not None:
        stats = state.sender.take_stats().to_wire()
        environment.runner.send_message(STATS, {"stats": stats, "resting": resting})
