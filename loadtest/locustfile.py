"""The load test, as Locust runs it: `make loadtest`, `make loadtest-ui`, or with workers. docs/loadtest.md tells how.

Each process that makes load has a `Sender`; the master, or the only process, has a `Conductor` that leads them all.
An API key comes from the environment alone: options are seen in the list of processes, on the page and in reports.
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
from loadtest.load.scheduler import LEDGER, PHASE, READY, REST, Conductor, say
from loadtest.load.sender import Asked, Phase, Sender
from loadtest.load.target import TargetError, require_ready

API_KEY_VARIABLE = "LOADTEST_API_KEY"
"""Holds the key that is sent with every request, where the service asks for one."""

_SPAWN_RATE = 100
"""Clients that a closed loop starts a second; Locust warns of more."""


@dataclass
class Station:
    """What this process has for the test that runs, or ran last."""

    sender: Sender | None = None
    conductor: Conductor | None = None


station = Station()


class OpenLoop(User):
    """All callers of an open loop, as far as this process sends for them."""

    wait_time = constant(0)

    @task
    def send(self) -> None:
        """Send what a phase asks for, each request when it is due."""
        if station.sender is not None:
            station.sender.send_by_schedule()


class ClosedLoop(User):
    """A client that asks again as soon as it has its answer."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """Ask once."""
        if station.sender is not None:
            station.sender.send_in_turn()


class Course(LoadTestShape):
    """Has as many users as the conductor needs, until it is done."""

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """Return users, how many start a second, and which; None ends the test."""
        assert self.runner is not None
        conductor = station.conductor
        if conductor is None or conductor.over:
            if conductor is not None or not self._begin(self.runner.environment):
                return None
            conductor = station.conductor
            assert conductor is not None
        if conductor.options.closed:
            return conductor.options.clients_count, _SPAWN_RATE, [ClosedLoop]
        return len(conductor.workers), _SPAWN_RATE, [OpenLoop]

    @staticmethod
    def _begin(environment: Environment) -> bool:
        """Start a conductor, or say what is wrong and return False."""
        assert environment.runner is not None
        try:
            options = options_of(environment)
            require_ready(environment.host or "")
            objectives = read_objectives(Path(options.objectives)).get(options.scenario)
        except (ValueError, ObjectivesError, TargetError) as error:
            say(str(error))
            environment.process_exit_code = 2
            return False
        station.conductor = Conductor(environment.runner, options, objectives)
        station.conductor.start()
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
    """Listen to the messages that this process gets."""
    runner = environment.runner
    assert runner is not None
    if not isinstance(runner, WorkerRunner):
        # Until a test without the page is over Locust would not notice.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        runner.register_message(READY, _ready)
        runner.register_message(LEDGER, _ledger)
    if not isinstance(runner, MasterRunner):
        runner.register_message(PHASE, _phase)
        runner.register_message(REST, _rest)
        gevent.spawn(_report_forever, environment)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Environment, **_: Any) -> None:
    """Make the requests ready, in each process that sends some."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        return
    assert runner is not None
    options = options_of(environment)

    def observe(asked: Asked) -> None:
        environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="POST",
            name=asked.question.name,
            response_time=asked.ms,
            response_length=len(asked.reply.body) if asked.reply else 0,
            exception=CatchResponseError(asked.error) if asked.error else None,
            context={},
        )

    api_key = os.environ.get(API_KEY_VARIABLE, "").strip()  # Files of secrets often end with a line break.
    client = Client(environment.host or "", options.answer_timeout, api_key)
    mix = Mix.of(options.content, options.model)
    seed = f"{options.seed}/{getattr(runner, 'worker_index', 0)}"
    station.sender = Sender(
        client, mix, options.schedule, max_in_flight=options.max_in_flight, seed=seed, observe=observe
    )
    runner.send_message(READY, {})


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def finish(environment: Environment, **_: Any) -> None:
    """Say how it went, and write the report."""
    if station.sender is not None:
        station.sender.rest()
        _report(environment, resting=False)
    conductor, station.conductor = station.conductor, None
    if conductor is None:
        return
    conductor.stop()
    folder = report_folder(conductor.options)
    met = write_report(conductor, environment.host or "", folder)
    environment.process_exit_code = 0 if met else 1


def _ready(msg: Message, **_: Any) -> None:
    if station.conductor is not None:
        station.conductor.on_ready(msg)


def _ledger(msg: Message, **_: Any) -> None:
    if station.conductor is not None:
        station.conductor.on_ledger(msg)


def _phase(msg: Message, **_: Any) -> None:
    if station.sender is not None:
        station.sender.begin(Phase(**msg.data))


def _rest(environment: Environment, **_: Any) -> None:
    gevent.spawn(_come_to_rest, environment)


def _come_to_rest(environment: Environment) -> None:
    sender = station.sender
    if sender is not None:
        sender.rest()
        sender.drain(options_of(environment).answer_timeout)
        _report(environment, resting=True)


def _report_forever(environment: Environment) -> None:
    while True:
        gevent.sleep(1)
        _report(environment, resting=False)


def _report(environment: Environment, *, resting: bool) -> None:
    if station.sender is not None and environment.runner is not None:
        ledger = station.sender.take().to_wire()
        environment.runner.send_message(LEDGER, {"ledger": ledger, "resting": resting})
