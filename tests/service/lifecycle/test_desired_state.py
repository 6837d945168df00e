from __future__ import annotations

import pytest

from model_store.catalog.reference import Resolved
from service.lifecycle.desired_state import DesiredVersions


def resolved(version: int, label: str | None = None) -> Resolved:
    return Resolved("xception", version, f"sha256:{version:064x}", label)


WANTED = DesiredVersions(
    resolved(3, "stable"), {"stable": resolved(3), "canary": resolved(5), "beta": resolved(4), "old": resolved(5)}
)


def test_the_default_comes_first_and_no_version_twice() -> None:
    assert [one.version for one in WANTED.versions()] == [3, 4, 5]


def test_an_empty_label_stands_for_the_default() -> None:
    assert WANTED.targets() == {"": 3, "stable": 3, "canary": 5, "beta": 4, "old": 5}


def test_what_lives_is_not_left_out_for_what_does_not() -> None:
    assert [one.version for one in WANTED.versions(loaded={5})] == [3, 5, 4]
    allowed, excess = WANTED.limited(2, loaded={5})
    assert sorted(allowed.labels) == ["canary", "old", "stable"]
    assert [one.version for one in excess] == [4]


@pytest.mark.parametrize(
    ("most", "labels", "excess"),
    [(1, ["stable"], [4, 5]), (2, ["beta", "stable"], [5]), (3, ["beta", "canary", "old", "stable"], [])],
)
def test_the_limit_leaves_out_the_last_by_label(most: int, labels: list[str], excess: list[int]) -> None:
    allowed, others = WANTED.limited(most)
    assert allowed.default == WANTED.default
    assert sorted(allowed.labels) == labels
    assert [one.version for one in others] == excess
