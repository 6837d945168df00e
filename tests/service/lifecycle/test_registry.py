"""What a runner says of its versions, and when it says so."""

from __future__ import annotations

import pytest

from model_store.catalog.reference import Resolved
from service.core.errors import ModelNotFoundError, NotReadyError
from service.core.serving_state import ModelSpec, RunnerState, VersionState, VersionStatus
from service.lifecycle.loaded_version import LoadedVersion
from service.lifecycle.registry import VersionRegistry


class Observed:
    def __init__(self) -> None:
        self.states: list[tuple[int, VersionState]] = []
        self.routes: list[tuple[str, int]] = []

    def version_changed(self, model: str, status: VersionStatus) -> None:
        self.states.append((status.version, status.state))

    def version_available(self, model: str, served: LoadedVersion, seconds: float) -> None: ...

    def version_gone(self, model: str, served: LoadedVersion) -> None: ...

    def label_routed(self, model: str, label: str, version: int) -> None:
        self.routes.append((label, version))


def resolved(version: int, digest: int | None = None) -> Resolved:
    return Resolved("xception", version, f"sha256:{digest or version:064x}")


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def versions(observed: Observed) -> VersionRegistry:
    return VersionRegistry("xception", observed)


async def test_nothing_yet_says_what_is_waited_for(versions: VersionRegistry) -> None:
    versions.enter(versions.status(resolved(1)), VersionState.LOADING)
    assert versions.describe().waiting_for == "version 1 is loading"
    with pytest.raises(NotReadyError, match="version 1 is loading"):
        versions.get(1)


async def test_a_failure_stays_in_the_status_until_it_is_tried_again(versions: VersionRegistry) -> None:
    status = versions.status(resolved(2))
    versions.enter(status, VersionState.FAILED, "DATA_LOSS", "other bytes")
    (told,) = versions.describe().versions
    assert (told.state, told.error_code, told.error_message) == (VersionState.FAILED, "DATA_LOSS", "other bytes")
    versions.enter(status, VersionState.PULLING)
    (told,) = versions.describe().versions
    assert (told.error_code, told.error_message) == ("OK", "")
    assert versions.status(resolved(2, digest=7)).digest != status.digest  # The same number, published anew.


async def test_subscribers_are_called_after_each_change(versions: VersionRegistry) -> None:
    seen: list[RunnerState] = []
    versions.subscribe(lambda: seen.append(versions.describe()))
    versions.enter(versions.status(resolved(1)), VersionState.PULLING)
    versions.route(1, {"stable": 1})
    versions.route(1, {"stable": 1})  # No change.
    versions.wait_for("the store does not answer")
    versions.close()
    assert [state.default for state in seen] == [None, 1, 1, None]
    assert [state.waiting_for for state in seen] == ["version 1 is pulling", None, None, "the store does not answer"]
    assert len({state.process for state in seen}) == 1


async def test_leading_tells_each_change_once(versions: VersionRegistry, observed: Observed) -> None:
    versions.route(1, {"stable": 1})
    versions.route(1, {"stable": 1, "canary": 2})
    versions.route(2, {"stable": 2, "canary": 2})
    assert observed.routes == [("", 1), ("stable", 1), ("canary", 2), ("", 2), ("stable", 2)]
    with pytest.raises(ModelNotFoundError):
        versions.get(9)


async def test_old_ends_are_forgotten_but_nothing_that_lives(versions: VersionRegistry) -> None:
    versions.enter(versions.status(resolved(1)), VersionState.AVAILABLE)
    for version in range(2, 40):
        versions.enter(versions.status(resolved(version)), VersionState.UNLOADED)
    told = [status.version for status in versions.describe().versions]
    assert len(told) <= 17
    assert 1 in told
    assert 39 in told


def test_a_target_is_found_by_number_by_label_and_by_default() -> None:
    state = RunnerState(name="xception", process="r", waiting_for=None, default=None, labels={}, versions=(), served=())
    with pytest.raises(NotReadyError):
        state.require(ModelSpec("xception"), "missing")
    with pytest.raises(ModelNotFoundError, match="missing"):
        state.require(ModelSpec("other"), "missing")
