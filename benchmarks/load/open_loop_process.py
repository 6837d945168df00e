"""The process behind `open_loop.py`: run a plan and print the results in JSON lines every second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gevent  # type: ignore[import-untyped]
import orjson

from loadtest.load.client import Client
from loadtest.load.images import SIZES, jpegs, predict_body
from loadtest.load.requests import LoadRequest, Mix
from loadtest.load.sender import Phase, Sender, SentRequest
from service.server.listener import raise_open_file_limit

from .invalid_requests import invalid_requests
from .open_loop import BULK, INTERACTIVE, Plan

_REPORT_EVERY_S = 1.0


def mix_of(plan: Plan) -> Mix:
    """Return the encoded requests of a plan."""
    if plan.content == "mixed":
        groups: list[tuple[Sequence[LoadRequest], float]] = list(Mix.of("mixed", plan.model).weighted)
    else:
        groups = list(_images(plan))
    if plan.bad:
        bad = invalid_requests(plan.model)
        weight = sum(weight for _, weight in groups)
        groups.append((bad, weight * plan.bad / (1 - plan.bad)))
    return Mix(groups)


def _images(plan: Plan) -> Iterator[tuple[Sequence[LoadRequest], float]]:
    path, deadline = f"/v1/models/{plan.model}:predict", f"X-Request-Timeout-Ms: {plan.timeout_ms}"
    headers = (deadline,) if plan.timeout_ms else ()
    bodies = [predict_body(SIZES[1], plan.images, first) for first in range(len(jpegs(SIZES[1])))]
    requests = [
        LoadRequest(INTERACTIVE, path, "application/json", body, plan.images, b"[", 1, headers=headers)
        for body in bodies
    ]
    yield requests, 1 - plan.bulk
    if plan.bulk:
        yield [replace(one, name=BULK, headers=(*headers, "X-Request-Priority: bulk")) for one in requests], plan.bulk


def main() -> None:
    """Run the plan that is the only argument."""
    plan = Plan.from_json(sys.argv[1])
    raise_open_file_limit()
    sent: list[SentRequest] = []
    client = Client(plan.url, plan.timeout_s, plan.api_key)
    sender = Sender(
        client,
        mix_of(plan),
        plan.arrivals,
        max_in_flight=plan.max_in_flight,
        seed=plan.seed,
        observe=sent.append,
    )

    def send() -> None:
        while True:
            sender.send_by_schedule()

    def report() -> None:
        rows = [_row(one) for one in sent]
        sent.clear()
        _write(results=rows)

    gevent.spawn(send)
    _write(began=time.perf_counter())
    for number, (seconds, rate) in enumerate(plan.phases):
        start, cpu_s = time.perf_counter(), time.process_time()
        sender.begin(Phase(number, seconds, rate, part=0, parts=1))
        while (left := start + seconds - time.perf_counter()) > 0:
            gevent.sleep(min(left, _REPORT_EVERY_S))
            report()
        _write(span=(start, time.perf_counter(), time.process_time() - cpu_s))
    sender.rest()
    sender.drain(plan.timeout_s)
    report()


def _row(sent: SentRequest) -> tuple[object, ...]:
    """Return the fields of a `RequestResult`, in their order."""
    reply, request = sent.reply, sent.request
    retry_after = reply.headers.get(b"retry-after", b"") if reply else b""
    return (
        sent.phase,
        request.name,
        request.images,
        sent.outcome,
        reply.status if reply else 0,
        int(retry_after) if retry_after.isdigit() else 0,
        sent.due,
        sent.sent,
        sent.ended,
    )


def _write(**document: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
