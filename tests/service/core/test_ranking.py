from __future__ import annotations

import numpy as np

from service.core.ranking import RankedClass, rank


def test_best_first_with_names_and_places() -> None:
    scores = np.array([0.1, 0.6, 0.3], np.float32)
    best = rank(scores, ["a", "b", "c"], 2)
    assert best == [RankedClass("b", 1, float(scores[1])), RankedClass("c", 2, float(scores[2]))]


def test_more_than_there_are_means_all_and_equals_keep_their_order() -> None:
    assert [entry.name for entry in rank(np.full(3, 0.5, np.float32), ["a", "b", "c"], 9)] == ["a", "b", "c"]
