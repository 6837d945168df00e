"""The versions that a runner knows: their states, and the routes of the default and the labels."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Protocol

from model_store.catalog.reference import Resolved
from service.core.errors import ModelNotFoundError, NotReadyError
from service.core.serving_state import RunnerState, VersionBatching, VersionState, VersionStatus
from service.lifecycle.loaded_version import LoadedVersion

log = logging.getLogger("bentoml.model")

_MAX_STATUSES = 16
"""Versions in the status, including unloaded and failed ones."""


class VersionsObserver(Protocol):
    """Receives every change; the metrics implement it."""

    def version_changed(self, model: str, status: VersionStatus) -> None:
        """Record the new state of a version."""

    def version_available(self, model: str, batching: VersionBatching, seconds: float) -> None:
        """Record that a version is available, so many seconds after its load began."""

    def label_routed(self, model: str, label: str, version: int) -> None:
        """Record the version that a label routes to; the empty label is the default, 0 means none."""


class VersionRegistry:
    """Loaded versions and their routes. Written by the reconciler, read by requests, all in one thread."""

    def __init__(self, model: str, observer: VersionsObserver) -> None:
        self.model = model
        self.default: int | None = None
        self.labels: Mapping[str, int] = {}
        self.waiting_for = "the model is being pulled"
        self._observer = observer
        self._loaded: dict[int, LoadedVersion] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._process = uuid.uuid4().hex
        self._subscribers: list[Callable[[], None]] = []

    def get(self, version: int) -> LoadedVersion:
        """Return the loaded version of this number.

        Raises:
            NotReadyError: No version is available yet; the message says why.
            ModelNotFoundError: Others are available, but not this version.
        """
        if version in self._loaded:
            return self._loaded[version]
        if self.default is None:
            raise NotReadyError(self.waiting_for)
        raise ModelNotFoundError(f"version {version} is not available")

    def is_loaded(self, resolved: Resolved) -> bool:
        """Return whether exactly this version, by number and digest, is loaded."""
        version = self._loaded.get(resolved.version)
        return version is not None and version.model.digest == resolved.manifest_digest

    def loaded(self) -> list[LoadedVersion]:
        """Return the loaded versions."""
        return list(self._loaded.values())

    def unreferenced(self) -> list[LoadedVersion]:
        """Return the loaded versions without a route."""
        routed = {self.default, *self.labels.values()}
        return [version for number, version in self._loaded.items() if number not in routed]

    def describe(self) -> RunnerState:
        """Return the state of every version, and the routes."""
        statuses = [self._statuses[version] for version in sorted(self._statuses, reverse=True)]
        return RunnerState(
            name=self.model,
            process=self._process,
            waiting_for=None if self.default is not None else self.waiting_for,
            default=self.default,
            labels=self.labels,
            versions=tuple(
                status.model_copy(update={"labels": self._labels_of(status.version)}) for status in statuses
            ),
            served=tuple(version.describe(self._labels_of(number)) for number, version in self._loaded.items()),
        )

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` synchronously after every change."""
        self._subscribers.append(changed)

    def wait_for(self, what: str) -> None:
        """Record why no version is available."""
        self.waiting_for = what
        self._notify()

    def status(self, resolved: Resolved) -> VersionStatus:
        """Return the status of a version; a new one if it is unknown."""
        known = self._statuses.get(resolved.version)
        if known is None or known.digest != resolved.manifest_digest:
            known = VersionStatus(version=resolved.version, digest=resolved.manifest_digest)
            self._statuses[resolved.version] = known
            self._prune_statuses()
        return known

    def enter(
        self, status: VersionStatus, state: VersionState, error_code: str = "OK", error_message: str = ""
    ) -> None:
        """Set the state of a version, and notify the subscribers."""
        status.state, status.error_code, status.error_message = state, error_code, error_message
        if state != VersionState.FAILED:
            self.waiting_for = f"version {status.version} is {state}"
        self._observer.version_changed(self.model, status)
        self._notify()

    def add(self, version: LoadedVersion, status: VersionStatus, seconds: float) -> LoadedVersion | None:
        """Make a version available; return the loaded version that it replaces, if any."""
        previous = self._loaded.get(version.number)
        self._loaded[version.number] = version
        self.enter(status, VersionState.AVAILABLE)
        self._observer.version_available(self.model, version.describe_batching(), seconds)
        return previous

    def remove(self, version: LoadedVersion) -> None:
        """Remove a version, so that no request finds it."""
        if self._loaded.get(version.number) is version:
            del self._loaded[version.number]
        self._notify()

    def mark_unloaded(self, version: LoadedVersion) -> None:
        """Record that a version is unloaded, unless it is being loaded again."""
        status = self._statuses.get(version.number)
        if status and status.state == VersionState.DRAINING:
            self.enter(status, VersionState.UNLOADED)

    def route(self, default: int | None, labels: Mapping[str, int]) -> None:
        """Change all routes at once."""
        before: dict[str, int | None] = {"": self.default, **self.labels}
        self.default, self.labels = default, dict(labels)
        for label, version in {"": default, **labels}.items():
            was = before.get(label)
            if version is not None and was != version:
                what = f"label {label!r}" if label else "the default"
                log.info("%s: %s routes to version %d (before: %s)", self.model, what, version, was or "none")
                self._observer.label_routed(self.model, label, version)
        for label in before.keys() - {"", *labels}:
            log.warning("%s: label %r is no longer served (before: version %s)", self.model, label, before[label])
            self._observer.label_routed(self.model, label, 0)
        if before != {"": default, **labels}:
            self._notify()

    def close(self) -> None:
        """Remove all routes at the end of the process, without log lines: no label was moved."""
        for label in self.labels:
            self._observer.label_routed(self.model, label, 0)
        self.default, self.labels = None, {}
        self._notify()

    def _labels_of(self, version: int) -> tuple[str, ...]:
        return tuple(sorted(label for label, target in self.labels.items() if target == version))

    def _notify(self) -> None:
        for changed in self._subscribers:
            changed()

    def _prune_statuses(self) -> None:
        for version in sorted(self._statuses):
            if len(self._statuses) <= _MAX_STATUSES:
                return
            if self._statuses[version].state in (VersionState.UNLOADED, VersionState.FAILED):
                del self._statuses[version]
