from __future__ import annotations

import numpy as np

from training.augment import augment


def squares() -> np.ndarray:
    """Return white squares on black, whose left half is grey."""
    pixels = np.zeros((40, 71, 71, 3), np.uint8)
    pixels[:, 14:57, 14:57] = 255
    pixels[:, 14:57, 14:35] = 120
    return pixels


def test_augmentation_depends_only_on_the_generator() -> None:
    first = augment(squares(), np.random.default_rng([1, 2]), flip=True)
    again = augment(squares(), np.random.default_rng([1, 2]), flip=True)
    other = augment(squares(), np.random.default_rng([1, 3]), flip=True)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_changes_are_small_and_the_original_is_unchanged() -> None:
    before = squares()
    changed = augment(before, np.random.default_rng(0), flip=False)
    np.testing.assert_array_equal(before, squares())
    assert changed.shape == before.shape
    assert (changed != before).any(axis=(1, 2, 3)).all()
    assert (changed[:, 33:38, 45] == 255).all()  # The middle of the white half stays white.
    assert (changed[:, 33:38, 26] == 120).all()


def test_flips_only_if_flip_is_set() -> None:
    def left_is_white(images: np.ndarray) -> np.ndarray:
        return images[:, 35, 26, 0] > 200

    assert not left_is_white(augment(squares(), np.random.default_rng(0), flip=False)).any()
    assert 10 <= left_is_white(augment(squares(), np.random.default_rng(0), flip=True)).sum() <= 30
