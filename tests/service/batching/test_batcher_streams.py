"""The batcher before an engine with streams: one image has all cores, many have one each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.batching.batcher import Batcher
from tests.service.synthetic_engine import Observed, SyntheticEngine, held_up, submit


@pytest.fixture
async def wide(observed: Observed) -> AsyncIterator[Batcher]:
    made = Batcher(observed, max_images=32, max_bytes=10**6, threads=2)
    made.start()
    yield made
    await made.stop()


async def test_a_lone_image_has_all_cores_and_many_have_one_each(wide: Batcher) -> None:
    engine = SyntheticEngine(batch_size=2, streams=2)
    first = await held_up(wide, engine)
    rest = [submit(wide, engine, value) for value in (1, 2, 3)]
    await asyncio.sleep(0.01)
    assert wide.running == 1  # What has all cores shares them with nobody.
    engine.gate.set()
    await asyncio.gather(first, *rest)
    assert engine.streams[0] is None
    assert sorted(engine.batches[1:]) == [[1, 2], [3]]
    assert {0, 1} == set(engine.streams[1:])


async def test_a_request_of_many_images_is_spread_over_the_lanes(wide: Batcher) -> None:
    engine = SyntheticEngine(batch_size=4, streams=2)
    result = await submit(wide, engine, *range(6))
    assert sorted(engine.batches) == [[0, 1, 2], [3, 4, 5]]
    assert result.scores[:, 0].tolist() == list(range(6))


async def test_lanes_and_an_engine_without_them_take_turns(wide: Batcher) -> None:
    laned, plain = SyntheticEngine(batch_size=1, streams=2), SyntheticEngine(batch_size=4)
    laned.gate.clear()
    both = submit(wide, laned, 1, 2)
    for _ in range(2):
        await asyncio.to_thread(laned.entered.acquire)
    other = submit(wide, plain, 3)
    after = submit(wide, laned, 4)
    await asyncio.sleep(0.01)
    assert plain.batches == []
    laned.gate.set()
    await asyncio.gather(both, other, after)
    assert plain.batches == [[3]]
    assert laned.batches == [[1], [2], [4]]
