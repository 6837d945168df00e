"""Thousands of malformed requests to a real service, beside ordinary ones."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conftest import SUMMARY, RecordProperty
from tests.faults.faulty_service import is_eight
from tests.faults.traffic import Traffic
from tests.server import Demo, Server

from .corpus import Item, corpus
from .images import MOST_PIXELS
from .sender import MemoryWatch, Outcome, send

MIB = 2**20
CONNECTIONS = 8
ORDINARY = 2
REQUEST_MIB, IMAGE_MIB, DECODE_THREADS = 2, 1, 2

LONGEST_TEXT = 2100
"""Characters of the text of an error, whatever is quoted in it."""

BYTES_A_PIXEL = 16
"""While a image is decoded, at most; of a WebP, which takes more than others."""

PNG_TEXTS_MIB = 64
"""The most that Pillow keeps of a PNG's compressed texts."""

JSON_FACTOR = 40
"""Bytes that a document takes for a byte of JSON, at worst: a list takes 56, and a pointer and Python's own to it."""

SLACK_MIB = 96
"""Caches, and what an allocator keeps."""

EDGE_GROWTH_MIB = (
    (CONNECTIONS + ORDINARY) * 3 * REQUEST_MIB
    + JSON_FACTOR * REQUEST_MIB
    + DECODE_THREADS * (BYTES_A_PIXEL * MOST_PIXELS // MIB + PNG_TEXTS_MIB + 2 * IMAGE_MIB)
    + SLACK_MIB
)
"""How much more memory the edge may take than at rest; one image beyond the limit takes more."""

RUNNER_GROWTH_MIB = 64
"""Nothing hostile reaches the runner, but images do, in batches that are as large as at its warm-up."""


@pytest.fixture(scope="module")
def server(demo: Demo) -> Iterator[Server]:
    """A service with small limits."""
    with demo(
        MAX_REQUEST_MIB=str(REQUEST_MIB),
        MAX_IMAGE_MIB=str(IMAGE_MIB),
        MAX_IMAGE_MEGAPIXELS=str(MOST_PIXELS // 1_000_000),
        DECODE_THREADS=str(DECODE_THREADS),
        EDGE_WORKERS="1",
        MAX_INSTANCES="64",
        MAX_IN_FLIGHT_MIB="256",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return corpus()


def problem_of(outcome: Outcome) -> str:
    """Return what is wrong with the way a request was treated; nothing if it was right."""
    item, status = outcome.item, outcome.status
    if status == 200:
        return "" if item.harmless else "was answered"
    if not 400 <= status < 500:
        return f"status {status}: {outcome.body[:200]!r}"
    if outcome.media_type != "application/json":
        return f"{outcome.media_type!r} with status {status}"
    document = json.loads(outcome.body)
    if list(document) != ["error"] or not isinstance(text := document["error"], str) or not text:
        return f"status {status} and {outcome.body[:200]!r}"
    if len(text) > LONGEST_TEXT:
        return f"a text of {len(text)} characters: {text[:100]!r}"
    if not item.harmless and not re.search(item.says, text):
        return f"says {text[:200]!r}, not {item.says!r}"
    return ""


def test_it_is_the_same_each_time(items: list[Item]) -> None:
    assert len(items) >= 5000
    assert len({item.name for item in items}) == len(items)
    assert digest(items) == digest(corpus())


def digest(items: list[Item]) -> str:
    state = hashlib.sha256()
    for item in items:
        state.update(repr((item.name, item.path, sorted(item.headers.items()), item.harmless)).encode())
        state.update(item.body)
    return state.hexdigest()


def test_hostile_requests_are_refused_and_disturb_nobody(
    server: Server, items: list[Item], eight: bytes, record_property: RecordProperty
) -> None:
    edge, runner = server.edge(), server.runner()
    with (
        MemoryWatch(edge=edge, runner=runner) as memory,
        Traffic(server.url, eight, is_eight, clients=ORDINARY, timeout_ms=30_000) as traffic,
    ):
        traffic.wait_for_answers(10)
        outcomes = send(server.port, items, CONNECTIONS)
        traffic.wait_for_answers(10)
    for line in summary(outcomes, memory, traffic):
        record_property(SUMMARY, line)
    problems = [f"{outcome.item.name}: {problem}" for outcome in outcomes if (problem := problem_of(outcome))]
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(sorted(problems)[:100])
    assert len(outcomes) == len(items)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    assert (server.edge().pid, server.runner().pid) == (edge.pid, runner.pid)
    assert "Traceback" not in server.log
    growth = memory.growth()
    assert growth["edge"] <= EDGE_GROWTH_MIB * MIB
    assert growth["runner"] <= RUNNER_GROWTH_MIB * MIB


def summary(outcomes: list[Outcome], memory: MemoryWatch, traffic: Traffic) -> Iterator[str]:
    statuses = Counter(outcome.status for outcome in outcomes)
    yield f"{len(outcomes)} hostile requests: {', '.join(f'{n} × {status}' for status, n in sorted(statuses.items()))}"
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    yield f"the slowest took {slowest.seconds:.1f} s: {slowest.item.name}"
    yield f"beside them {traffic.tally.answered} of {traffic.tally.sent} ordinary ones answered"
    for name, peak in memory.peak.items():
        yield f"{name}: {memory.before[name] / MIB:.0f} MiB before, {peak / MIB:.0f} MiB at most"
