"""What is learned of an engine: the size that pays, and what a batch costs, while both change."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from service.batching.tuning import BatchProfile, CostModel

Cost = Callable[[int], float]


def linear(images: int) -> float:
    return 0.010 * images


def flat(images: int) -> float:
    return 0.030


def cliff(images: int) -> float:
    return 0.020 if images <= 8 else 0.020 + 0.020 * (images - 8)


def noisy(images: int, source: random.Random = random.Random(7)) -> float:  # noqa: B008
    return linear(images) * source.lognormvariate(0, 0.02)


def warmed(cost: Cost, streams: int = 2) -> BatchProfile:
    profile = BatchProfile(streams)
    for size in (1, 2, 4, 8, 16, 32):
        profile.record_measurement(size, cost(size))
        profile.stream_cost.observe(size, cost(size))
    return profile


def live(profile: BatchProfile, cost: Cost, batches: int = 20_000, waiting: int = 256) -> list[int]:
    """Run batches under load, as the batcher does; return their sizes."""
    sizes = []
    for _ in range(batches):
        size = min(waiting, profile.next_batch_size(waiting))
        profile.observe(size, cost(size), exclusive=False)
        sizes.append(size)
    return sizes


@pytest.mark.parametrize(("cost", "size"), [(linear, 1), (flat, 32), (cliff, 8), (noisy, 1)])
def test_warm_up_finds_the_size(cost: Cost, size: int) -> None:
    assert warmed(cost).batch_size == size


@pytest.mark.parametrize(
    ("before", "after", "size"),
    [(linear, flat, 32), (flat, linear, 1), (cliff, linear, 1), (linear, cliff, 8), (flat, cliff, 8)],
)
def test_the_size_follows_when_the_cost_changes(before: Cost, after: Cost, size: int) -> None:
    profile = warmed(before)
    live(profile, after)
    assert profile.batch_size == size
    assert profile.stream_cost.latency_s(size) == pytest.approx(after(size), rel=0.25)


def test_noise_does_not_make_it_wander() -> None:
    profile = warmed(linear)
    sizes = live(profile, lambda images: linear(images) * random.Random(images).lognormvariate(0, 0.02))
    assert sizes.count(1) > 0.95 * len(sizes)


def test_a_probe_is_rare_and_only_under_load() -> None:
    profile = warmed(linear)
    sizes = live(profile, linear, batches=1024)
    assert sizes.count(2) in (3, 4)
    assert set(live(profile, linear, batches=1024, waiting=3)) == {1}


def test_sizes_that_were_never_run_are_not_probed() -> None:
    profile = BatchProfile(2)
    profile.record_measurement(1, 0.01)
    assert set(live(profile, flat)) == {1}


def test_one_way_to_run_has_one_cost() -> None:
    one, two = BatchProfile(1), BatchProfile(2)
    for profile in (one, two):
        profile.observe(1, 0.5, exclusive=True)
    assert one.latency_s(1) == one.work_s(1) == pytest.approx(0.5)
    assert (two.latency_s(1), two.work_s(4)) == (pytest.approx(0.5), 0)
    two.observe(1, 0.8, exclusive=False)
    assert two.work_s(4) == pytest.approx(1.6)


def test_learns_a_line_through_noise_and_follows_when_it_changes() -> None:
    cost, noise = CostModel(), random.Random(0)
    for per_image, fixed in ((0.010, 0.005), (0.030, 0.001)):
        for _ in range(500):
            size = noise.choice([1, 2, 4, 8])
            cost.observe(size, (per_image * size + fixed) * noise.uniform(0.95, 1.05))
        assert cost.latency_s(1) == pytest.approx(per_image + fixed, rel=0.1)
        assert cost.latency_s(8) == pytest.approx(8 * per_image + fixed, rel=0.1)


def test_equal_sizes_move_the_line_and_keep_its_slope() -> None:
    cost = CostModel()
    for size in (1, 2, 4, 8):
        cost.observe(size, 0.01 * size + 0.01)
    for _ in range(1000):
        cost.observe(1, 0.04)
    assert cost.latency_s(1) == pytest.approx(0.04, rel=0.05)
    assert cost.per_image_s > 0
    assert cost.fixed_s > 0


def test_slope_is_never_negative_nor_the_fixed_part() -> None:
    cost = CostModel()
    for size, seconds in ((1, 0.1), (8, 0.05), (4, 0.07), (2, 0.2)):
        cost.observe(size, seconds)
        assert cost.per_image_s >= 0
        assert cost.fixed_s >= 0


def test_work_counts_the_fixed_part_once_a_batch() -> None:
    cost = CostModel()
    cost.per_image_s, cost.fixed_s = 1.0, 10.0
    assert cost.work_s(0, 4) == 0
    assert cost.work_s(4, 4) == 14
    assert cost.work_s(5, 4) == 25
