"""The batcher before an engine whose cost and faults are known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching.batcher import Batcher
from service.batching.tuning import BatchProfile
from service.core.deadline import Deadline, Priority
from service.core.errors import DeadlineExceededError, InferenceError, NotReadyError, OverloadedError
from tests.service.synthetic_engine import BAD, Observed, SyntheticEngine, held_up, images, submit


async def test_idle_engine_takes_a_lone_image_at_once(batcher: Batcher) -> None:
    engine = SyntheticEngine()
    result = await submit(batcher, engine, 7)
    assert result.scores.tolist() == [[7.0]]
    assert result.batch_size == 1
    assert result.queue_s < 0.1


async def test_arrivals_collect_while_the_engine_is_busy(batcher: Batcher) -> None:
    engine = SyntheticEngine(batch_size=4)
    first = await held_up(batcher, engine)
    rest = [submit(batcher, engine, value) for value in range(1, 7)]
    await asyncio.sleep(0.01)
    engine.gate.set()
    results = await asyncio.gather(first, *rest)
    assert engine.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert [result.scores[0, 0] for result in results] == [0, 1, 2, 3, 4, 5, 6]
    assert results[1].batch_size == 4
    assert results[6].batch_size == 2


async def test_large_request_is_split_and_put_together_in_order(batcher: Batcher) -> None:
    engine = SyntheticEngine(batch_size=4)
    result = await submit(batcher, engine, *range(10))
    assert [len(batch) for batch in engine.batches] == [4, 4, 2]
    assert result.scores[:, 0].tolist() == list(range(10))


async def test_one_bad_image_fails_alone(batcher: Batcher) -> None:
    engine = SyntheticEngine(batch_size=4)
    first = await held_up(batcher, engine)
    good, bad, other = (submit(batcher, engine, value) for value in (1, BAD, 3))
    await asyncio.sleep(0.01)
    engine.gate.set()
    await first
    assert (await good).scores[0, 0] == 1
    assert (await other).scores[0, 0] == 3
    with pytest.raises(InferenceError, match="bad pixel"):
        await bad


async def test_what_was_given_up_is_not_run_alone_when_its_batch_has_failed(batcher: Batcher) -> None:
    loop = asyncio.get_running_loop()

    class Left(SyntheticEngine):
        def run(self, pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
            if len(pixels) > 1:
                loop.call_soon_threadsafe(cancelled.cancel)
            return super().run(pixels, stream)

    engine = Left(batch_size=4)
    first = await held_up(batcher, engine)
    cancelled, bad, kept = (submit(batcher, engine, *values) for values in ((1, 2), (BAD,), (3,)))
    await asyncio.sleep(0.01)
    engine.gate.set()
    await first
    assert (await kept).scores[0, 0] == 3
    with pytest.raises(InferenceError, match="bad pixel"):
        await bad
    assert engine.batches == [[0], [1, 2, BAD, 3], [BAD], [3]]


async def test_interactive_leaves_before_bulk(batcher: Batcher) -> None:
    engine = SyntheticEngine(batch_size=2)
    first = await held_up(batcher, engine)
    bulk = [submit(batcher, engine, value, priority=Priority.BULK) for value in (11, 12)]
    interactive = [submit(batcher, engine, value) for value in (1, 2, 3)]
    await asyncio.sleep(0.01)
    engine.gate.set()
    await asyncio.gather(first, *bulk, *interactive)
    assert engine.batches == [[0], [1, 2], [3, 11], [12]]


async def test_versions_never_share_a_batch(batcher: Batcher) -> None:
    old, new = SyntheticEngine(batch_size=4), SyntheticEngine(batch_size=4)
    first = await held_up(batcher, old)
    rest = [submit(batcher, engine, value) for value, engine in enumerate([old, new, old, new], start=1)]
    await asyncio.sleep(0.01)
    old.gate.set()
    await asyncio.gather(first, *rest)
    assert old.batches == [[0], [1, 3]]
    assert new.batches == [[2, 4]]


async def test_cancelled_and_expired_are_dropped_and_not_run(batcher: Batcher, observed: Observed) -> None:
    engine = SyntheticEngine(batch_size=1)
    first = await held_up(batcher, engine)
    cancelled = submit(batcher, engine, 1)
    expired = submit(batcher, engine, 2, timeout=0.02)
    kept = submit(batcher, engine, 3)
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(DeadlineExceededError, match="20 ms"):
        await expired
    engine.gate.set()
    await asyncio.gather(first, kept)
    assert engine.batches == [[0], [3]]
    assert observed.drops == {"cancelled": 1, "expired": 1}
    assert (batcher.images, batcher.bytes) == (0, 0)


async def test_queue_is_bounded_in_images_and_bytes(observed: Observed) -> None:
    for bounds, match in (
        ({"max_images": 3, "max_bytes": 10**6}, "limit of 3"),
        ({"max_images": 99, "max_bytes": 40}, "40"),
    ):
        engine = SyntheticEngine()
        batcher = Batcher(observed, **bounds)
        batcher.start()
        first = await held_up(batcher, engine)
        waiting = [submit(batcher, engine, value) for value in (1, 2, 3)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError, match=match) as refused:
            await batcher.submit(engine, images(4), Deadline(10))
        assert refused.value.retry_after_s is not None
        assert refused.value.retry_after_s >= 1
        engine.gate.set()
        await asyncio.gather(first, *waiting)
        await batcher.stop()


async def test_refuses_what_cannot_meet_its_deadline(batcher: Batcher) -> None:
    engine = SyntheticEngine(batch_size=1)
    for _ in range(10):
        engine.profile.stream_cost.observe(1, 0.5)
    with pytest.raises(DeadlineExceededError, match="take about 500 ms"):
        await submit(batcher, engine, 1, timeout=0.2)
    assert engine.batches == []
    first = await held_up(batcher, engine)
    waiting = submit(batcher, engine, 2)
    await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError, match="takes about 1000 ms"):
        await submit(batcher, engine, 3, timeout=0.8)
    engine.gate.set()
    await asyncio.gather(first, waiting)


async def test_waits_for_a_batch_to_fill_only_when_told(observed: Observed) -> None:
    batcher = Batcher(observed, max_images=32, max_bytes=10**6, max_wait_s=0.2)
    batcher.start()
    engine = SyntheticEngine(batch_size=2)
    lone = await submit(batcher, engine, 1)
    assert lone.queue_s >= 0.19
    pair = await asyncio.gather(submit(batcher, engine, 2), submit(batcher, engine, 3))
    assert engine.batches == [[1], [2, 3]]
    assert pair[0].queue_s < 0.15
    await batcher.stop()


async def test_stop_answers_what_waits_and_refuses_what_comes(observed: Observed) -> None:
    batcher = Batcher(observed, max_images=32, max_bytes=10**6)
    batcher.start()
    engine = SyntheticEngine(batch_size=1)
    first = await held_up(batcher, engine)
    waiting = submit(batcher, engine, 1)
    await asyncio.sleep(0.01)
    stopping = asyncio.create_task(batcher.stop())
    with pytest.raises(NotReadyError):
        await waiting
    engine.gate.set()
    assert (await first).scores[0, 0] == 0
    await stopping
    with pytest.raises(NotReadyError):
        await submit(batcher, engine, 2)


async def test_a_rehearsal_takes_its_turn_and_no_bound_stops_it(observed: Observed) -> None:
    batcher = Batcher(observed, max_images=1, max_bytes=2**20)
    batcher.start()
    live, candidate = SyntheticEngine(batch_size=1), SyntheticEngine(batch_size=4)
    live.gate.clear()
    running = asyncio.create_task(batcher.submit(live, images(1), Deadline(10)))
    await asyncio.to_thread(live.entered.acquire)
    waiting = asyncio.create_task(batcher.submit(live, images(2), Deadline(10)))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await batcher.submit(live, images(3), Deadline(10))
    warmup = asyncio.create_task(batcher.run_warmup(candidate, images(4, 5)))
    await asyncio.sleep(0.01)
    assert candidate.batches == []
    live.gate.set()
    assert (await warmup).scores.ravel().tolist() == [4, 5]
    assert live.batches == [[1], [2]]
    await asyncio.gather(running, waiting)
    await batcher.stop()


async def test_drained_waits_for_what_waits_and_what_runs_of_this_model_only(batcher: Batcher) -> None:
    old, new = SyntheticEngine(batch_size=1), SyntheticEngine(batch_size=1)
    old.gate.clear()
    answers = [asyncio.create_task(batcher.submit(old, images(n), Deadline(10))) for n in (1, 2)]
    answers.append(asyncio.create_task(batcher.submit(new, images(3), Deadline(10))))
    await asyncio.to_thread(old.entered.acquire)
    gone = asyncio.create_task(batcher.wait_drained(old))
    await asyncio.sleep(0.05)
    assert not gone.done()
    cancelled = asyncio.create_task(batcher.submit(old, images(4), Deadline(10)))
    await asyncio.sleep(0)
    cancelled.cancel()
    old.gate.set()
    await asyncio.wait_for(gone, 5)
    assert old.batches == [[1], [2]]
    await asyncio.gather(*answers)
    await asyncio.wait_for(batcher.wait_drained(old), 1)


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [(lambda n: 0.004, {16}), (lambda n: 0.003 * n, {1, 2, 4}), (lambda n: 0.004 + 0.004 * max(0, n - 4), {4})],
    ids=["flat", "linear", "cliff"],
)
async def test_the_batch_size_follows_the_engine_under_load(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float], sizes: set[int]
) -> None:
    monkeypatch.setattr("service.batching.tuning._PROBE_EVERY", 4)
    engine = SyntheticEngine()
    engine.profile = BatchProfile(1)
    for known in (1, 2, 4, 8, 16):
        engine.profile.record_measurement(known, 0.003 + 0.001 * known)  # Until now; the engine has changed.
    assert engine.profile.batch_size == 16

    def run(pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
        assert stream is None
        time.sleep(seconds(len(pixels)))
        return np.zeros((len(pixels), 1), np.float32)

    monkeypatch.setattr(engine, "run", run)
    batcher = Batcher(observed, max_images=256, max_bytes=10**6)
    batcher.start()
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while answered < 2500 and not (answered > 200 and engine.profile.batch_size in sizes):
            await batcher.submit(engine, images(1), Deadline(10))
            answered += 1

    await asyncio.gather(*(caller() for _ in range(64)))
    assert engine.profile.batch_size in sizes
    await batcher.stop()


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
