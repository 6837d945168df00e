from __future__ import annotations

import numpy as np

from training.augment import augment


def pictures() -> np.ndarray:
    """Return white squares in the middle of black, with the left half grey."""
    made = np.zeros((40, 71, 71, 3), np.uint8)
    made[:, 14:57, 14:57] = 255
    made[:, 14:57, 14:35] = 120
    return made


def test_chance_comes_from_the_generator_alone() -> None:
    first = augment(pictures(), np.random.default_rng([1, 2]), flip=True)
    again = augment(pictures(), np.random.default_rng([1, 2]), flip=True)
    other = augment(pictures(), np.random.default_rng([1, 3]), flip=True)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_changes_are_small_and_the_original_stays() -> None:
    before = pictures()
    changed = augment(before, np.random.default_rng(0), flip=False)
    np.testing.assert_array_equal(before, pictures())
    assert changed.shape == before.shape
    assert (changed != before).any(axis=(1, 2, 3)).all()
    assert (changed[:, 33:38, 45] == 255).all()  # The middle of the white half stays white.
    assert (changed[:, 33:38, 26] == 120).all()


def test_flips_only_when_told() -> None:
    def left_is_white(images: np.ndarray) -> np.ndarray:
        return images[:, 35, 26, 0] > 200

    assert not left_is_white(augment(pictures(), np.random.default_rng(0), flip=False)).any()
    assert 10 <= left_is_white(augment(pictures(), np.random.default_rng(0), flip=True)).sum() <= 30
