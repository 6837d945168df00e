from __future__ import annotations

import random

import pytest

from service.batching.tuning import CostModel


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
