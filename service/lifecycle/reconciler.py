"""Reconcile the loaded versions with the labels in the store. This is the model path inside the runner.

    pulling (and verifying) → loading → warming → checking → available → draining → unloaded   (or failed)

One task does all of it. It polls the labels periodically and on request, loads the versions that they point to one
after the other, routes requests to a new version only when every step has succeeded, and unloads the old version only
then. A failure is recorded in the status of the version, and the previous version keeps serving.
docs/adr/0002-versions-in-one-process.md explains why the versions share a process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from model_store.catalog.reference import Resolved
from model_store.errors import NotFoundError, StoreError, UnavailableError
from service.batching.batcher import Batcher
from service.core.errors import NotReadyError, ReloadFailedError, ServiceError
from service.core.serving_state import RunnerState, VersionState, VersionStatus
from service.host.thread_pool import run_in_background
from service.lifecycle.desired_state import DesiredVersions, VersionSource
from service.lifecycle.loaded_version import LoadedVersion
from service.lifecycle.loader import Loader, error_code, is_final
from service.lifecycle.registry import VersionRegistry, VersionsObserver
from service.settings import Settings

log = logging.getLogger("bentoml.model")

_FIRST_PAUSE_S = 1.0
"""Seconds before the first retry; doubled for each further one, up to `LOAD_RETRY_MAX_S`."""

_DRAIN_S = 1.0
"""Seconds that a version without a label still serves edges that have not received the new state."""

_RECORD_S = 5.0
"""Seconds that a stop waits until the disk has recorded which version served last."""


@dataclass(frozen=True)
class Problem:
    """Why the loaded versions are not those of the labels."""

    error: ServiceError
    """The error of a reload."""
    transient: bool
    """Whether a retry may succeed."""

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Problem | None:
        """Return several problems as one, or None if there are none."""
        if len(problems) < 2:
            return next(iter(problems), None)
        kind = type(next((one.error for one in problems if isinstance(one.error, NotReadyError)), problems[0].error))
        return cls(kind("; ".join(str(one.error) for one in problems)), any(one.transient for one in problems))


class ReconcilerObserver(VersionsObserver, Protocol):
    """Receives the events of the reconciler; the metrics implement it."""

    def version_failed(self, model: str, status: VersionStatus) -> None:
        """Record that a version could not be loaded."""

    def store_polled(self, model: str, answered: bool) -> None:
        """Record a poll of the labels in the store."""

    def desired_changed(self, model: str, versions: Mapping[str, int]) -> None:
        """Record which version each label has in the store; the empty label is the default version."""


class Reconciler:
    """Keeps the loaded versions equal to those of the labels in the store."""

    def __init__(self, settings: Settings, observer: ReconcilerObserver, batcher: Batcher) -> None:
        self.versions = VersionRegistry(settings.model_name, observer)
        self._settings = settings
        self._observer = observer
        self._source = VersionSource(settings)
        self._loader = Loader(settings, self._source, batcher)
        self._permanently_failed: set[str] = set()
        """Digests of the manifests of versions that would fail again."""
        self._wake = asyncio.Event()
        self._reloads: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._draining: dict[LoadedVersion, asyncio.Task[None]] = {}
        self._recording: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        """Return whether a checked default version serves."""
        return self.versions.default is not None

    def start(self) -> None:
        """Start the task that pulls and loads."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel the task, then unload all versions; the batcher must be stopped before."""
        tasks = [task for task in (self._task, *self._draining.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._recording:  # The process does not wait for its threads.
            await asyncio.wait({self._recording}, timeout=_RECORD_S)
        self.versions.close()
        for version in self.versions.loaded():
            await self._unload(version)

    async def reload(self) -> RunnerState:
        """Poll the labels now, retry failed versions, and return once that is done.

        Raises:
            ReloadFailedError: A version that a label points to cannot be served; the message says why.
            NotReadyError: The store cannot be reached.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reloads.append(done)
        self._wake.set()
        await done
        return self.versions.describe()

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._wake.clear()
            reloads, self._reloads = self._reloads, []
            try:
                if reloads:
                    self._permanently_failed.clear()
                    await asyncio.to_thread(self._loader.reset)
                problem = await self._follow_labels()
            except Exception as error:  # This task must not end, or labels would never be followed again.
                problem = self._report("reconciling with the labels failed", error)
            for reload in reloads:
                if not reload.done():
                    reload.set_exception(problem.error) if problem else reload.set_result(None)
            if (problem and problem.transient) or not self.ready:
                wait_s, pause_s = pause_s, min(pause_s * 2, self._settings.load_retry_max_s)
            else:
                wait_s, pause_s = self._settings.model_poll_s, _FIRST_PAUSE_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s or None)

    async def _follow_labels(self) -> Problem | None:
        """Load and route the versions that the labels point to; return what failed, if anything did."""
        try:
            desired = await asyncio.to_thread(self._source.read)
        except Exception as error:  # Whatever it is, the process stays up and serves the versions it has.
            self._observer.store_polled(self.versions.model, False)
            problem = self._report("the labels cannot be read from the store", error)
            await self._fall_back()
            return problem
        self._observer.store_polled(self.versions.model, True)
        self._observer.desired_changed(self.versions.model, desired.targets())
        loaded = {version.number for version in self.versions.loaded()}
        desired, excess = desired.limited(self._settings.max_versions, loaded)
        problems: list[Problem] = []
        for resolved in desired.versions():
            if failed := await self._load_version(resolved):
                problems.append(failed)
                await self._fall_back(resolved)
            else:
                await self._route(desired)
        await self._route(desired)
        problems += [self._reject_excess(resolved) for resolved in excess]
        return Problem.of(problems)

    async def _load_version(self, resolved: Resolved) -> Problem | None:
        """Load a version unless it is available; return why that failed, if it did."""
        if self.versions.is_loaded(resolved):
            return None
        status = self.versions.status(resolved)
        if resolved.manifest_digest in self._permanently_failed and self.ready:
            text = f"{_name_of(resolved)} cannot be served: {status.error_message}"
            return Problem(ReloadFailedError(text), transient=False)
        started = time.monotonic()
        try:
            version = await self._loader.load(
                resolved, lambda state: self.versions.enter(status, state), self.versions.loaded
            )
        except Exception as error:  # A failed version must not affect those that serve.
            self.versions.enter(status, VersionState.FAILED, error_code(error), str(error))
            self._observer.version_failed(self.versions.model, status)
            if is_final(error):
                self._permanently_failed.add(resolved.manifest_digest)
            return self._report(f"{_name_of(resolved)} cannot be served", error)
        replaced = self.versions.add(version, status, time.monotonic() - started)
        log.info(
            "%s: version %d is available: %s, streams=%d, batch_size=%d, %.1f ms for a single image",
            self.versions.model,
            version.number,
            version.variant.name,
            version.profile.streams,
            version.profile.batch_size,
            1000 * version.profile.exclusive_cost.latency_s(1),
        )
        if replaced:  # The same number with another digest: the store was recreated.
            await self._loader.unload(replaced)
        return None

    async def _fall_back(self, failed: Resolved | None = None) -> None:
        """Serve the version that served last, unless a default version serves."""
        if self.ready:
            return
        try:
            resolved = await asyncio.to_thread(self._source.last_served)
        except StoreError as error:
            log.warning("%s: the record of the version that served last cannot be read: %s", self.versions.model, error)
            return
        if resolved is None or (failed and failed.manifest_digest == resolved.manifest_digest):
            return
        if not await self._load_version(resolved):
            log.warning("%s: falling back to version %d, which served last", self.versions.model, resolved.version)
            self.versions.route(resolved.version, self.versions.labels)

    async def _route(self, desired: DesiredVersions) -> None:
        """Route default and labels to the desired versions that are loaded; drain the versions without a route."""
        default, labels = self.versions.default, self.versions.labels
        previous = default
        if self.versions.is_loaded(desired.default):
            default = desired.default.version
        labels = {label: version for label, version in labels.items() if label in desired.labels}
        labels |= {label: found.version for label, found in desired.labels.items() if self.versions.is_loaded(found)}
        self.versions.route(default, labels)
        unreferenced = self.versions.unreferenced()
        for version in unreferenced:
            if version not in self._draining:
                self._draining[version] = asyncio.create_task(self._drain(version))
        for version in self._draining.keys() - set(unreferenced):
            self._draining.pop(version).cancel()
            self.versions.enter(self._status(version), VersionState.AVAILABLE)
        if default is not None and default != previous:
            await self._record_last_served(self.versions.get(default))

    async def _drain(self, version: LoadedVersion) -> None:
        """Let a version finish its requests, then unload it; cancelled if a label points to it again."""
        self.versions.enter(self._status(version), VersionState.DRAINING)
        await asyncio.sleep(_DRAIN_S)
        del self._draining[version]
        await self._unload(version)

    async def _unload(self, version: LoadedVersion) -> None:
        self.versions.remove(version)
        await self._loader.unload(version)
        self.versions.mark_unloaded(version)

    async def _record_last_served(self, version: LoadedVersion) -> None:
        """Record for the next start which version serves; completed even if the process stops at the same moment."""
        try:
            self._recording = asyncio.ensure_future(asyncio.to_thread(self._source.record_last_served, version.model))
            await asyncio.shield(self._recording)
            in_use = [loaded.model.digest for loaded in self.versions.loaded()]
            await run_in_background(lambda: self._source.prune_cache(in_use))
        except StoreError as error:
            log.warning(
                "%s: version %d is not recorded as the last served one: %s", version.model.model, version.number, error
            )

    def _reject_excess(self, resolved: Resolved) -> Problem:
        """Record in the status of a version that it is over the limit of versions."""
        status = self.versions.status(resolved)
        text = f"more versions are labelled than MAX_VERSIONS={self._settings.max_versions} allows"
        if not self.versions.is_loaded(resolved) and status.error_message != text:
            self.versions.enter(status, VersionState.FAILED, "RESOURCE_EXHAUSTED", text)
            self._observer.version_failed(self.versions.model, status)
            log.error("%s: %s cannot be served: %s", resolved.model, _name_of(resolved), text)
        return Problem(ReloadFailedError(f"{_name_of(resolved)} cannot be served: {text}"), transient=False)

    def _report(self, what: str, error: Exception) -> Problem:
        """Log what failed, and keep it as the reason why nothing serves."""
        hint = " (publish one, or correct MODEL_VERSION or MODEL_STORE_URL)" if isinstance(error, NotFoundError) else ""
        text = f"{what}: {error}{hint}"
        expected = isinstance(error, StoreError) or is_final(error)
        log.error("%s: %s", self.versions.model, text, exc_info=not expected)
        self.versions.wait_for(text)
        unavailable = isinstance(error, UnavailableError)
        return Problem(NotReadyError(text) if unavailable else ReloadFailedError(text), transient=not is_final(error))

    def _status(self, version: LoadedVersion) -> VersionStatus:
        model = version.model
        return self.versions.status(Resolved(model.model, model.version, model.digest))


def _name_of(resolved: Resolved) -> str:
    return f"version {resolved.version}" + (f" (label '{resolved.label}')" if resolved.label else "")
