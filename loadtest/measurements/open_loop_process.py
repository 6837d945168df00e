"""The process behind `open_loop.py`: runs a plan, and prints what it saw in JSON lines, second by second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gevent  # type: ignore[import-untyped]
import orjson

from loadtest.load.client import Client
from loadtest.load.questions import Mix, Question
from loadtest.load.sender import Asked, Phase, Sender
from loadtest.pictures import SIZES, jpegs, predict_body
from service.server.listener import raise_open_file_limit

from .bad_inputs import bad_questions
from .open_loop import BULK, INTERACTIVE, Plan

_TELL_EVERY_S = 1.0


def mix_of(plan: Plan) -> Mix:
    """Return what a plan asks, encoded."""
    if plan.content == "mixed":
        groups: list[tuple[Sequence[Question], float]] = list(Mix.of("mixed", plan.model).weighted)
    else:
        groups = list(_pictures(plan))
    if plan.bad:
        bad = bad_questions(plan.model)
        weight = sum(weight for _, weight in groups)
        groups.append((bad, weight * plan.bad / (1 - plan.bad)))
    return Mix(groups)


def _pictures(plan: Plan) -> Iterator[tuple[Sequence[Question], float]]:
    path, deadline = f"/v1/models/{plan.model}:predict", f"X-Request-Timeout-Ms: {plan.timeout_ms}"
    headers = (deadline,) if plan.timeout_ms else ()
    bodies = [predict_body(SIZES[1], plan.images, first) for first in range(len(jpegs(SIZES[1])))]
    asked = [
        Question(INTERACTIVE, path, "application/json", body, plan.images, b"[", 1, headers=headers) for body in bodies
    ]
    yield asked, 1 - plan.bulk
    if plan.bulk:
        yield [replace(one, name=BULK, headers=(*headers, "X-Request-Priority: bulk")) for one in asked], plan.bulk


def main() -> None:
    """Run the plan that is the only argument."""
    plan = Plan.from_json(sys.argv[1])
    raise_open_file_limit()
    asked: list[Asked] = []
    client = Client(plan.url, plan.patience_s, plan.api_key)
    sender = Sender(
        client,
        mix_of(plan),
        plan.arrivals,
        max_in_flight=plan.max_in_flight,
        seed=plan.seed,
        observe=asked.append,
    )

    def send() -> None:
        while True:
            sender.send_by_schedule()

    def tell() -> None:
        rows = [_row(one) for one in asked]
        asked.clear()
        _say(seen=rows)

    gevent.spawn(send)
    _say(began=time.perf_counter())
    for number, (seconds, rate) in enumerate(plan.phases):
        start, cpu_s = time.perf_counter(), time.process_time()
        sender.begin(Phase(number, seconds, rate, part=0, parts=1))
        while (left := start + seconds - time.perf_counter()) > 0:
            gevent.sleep(min(left, _TELL_EVERY_S))
            tell()
        _say(span=(start, time.perf_counter(), time.process_time() - cpu_s))
    sender.rest()
    sender.drain(plan.patience_s)
    tell()


def _row(asked: Asked) -> tuple[object, ...]:
    """Return the fields of a `Seen`, in their order."""
    reply, question = asked.reply, asked.question
    told = reply.headers.get(b"retry-after", b"") if reply else b""
    return (
        asked.phase,
        question.name,
        question.images,
        asked.outcome,
        reply.status if reply else 0,
        int(told) if told.isdigit() else 0,
        asked.due,
        asked.sent,
        asked.ended,
    )


def _say(**document: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
