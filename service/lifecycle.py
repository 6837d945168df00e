"""The life of a model version in the runner, from the remote store to the first answer.

    pull, verify → loading → checking → warming → available → unloaded   (or failed)

A version goes live only when every step before has succeeded; whatever fails is said in its status, and tried
again with growing pauses. When the store cannot be reached, the last version that served here is taken from
the cache.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_store.cache import Cache
from model_store.errors import NotFoundError, StoreError, UnavailableError
from model_store.manifest import Manifest, Variant
from model_store.pull import pull
from model_store.reference import Resolved, resolve
from model_store.remote import Remote
from model_store.verify import VerifiedModel

from .cost import CostModel
from .cpus import available_cpus
from .engine import Engine, choose_variant, load_engine
from .errors import ModelNotFoundError, NotReadyError
from .settings import Settings
from .state import RunnerState, ServedModel, State, VersionStatus
from .warmup import check_golden, golden_pixels, learn_batch_size

log = logging.getLogger("bentoml.model")

_FIRST_PAUSE_S = 1.0


@dataclass
class ServedVersion:
    """A version that is loaded, warmed and checked; what the batcher runs."""

    model: VerifiedModel
    variant: Variant
    engine: Engine
    batch_size: int
    cost: CostModel = field(default_factory=CostModel)

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        return self.engine.run(pixels)

    def describe(self, name: str) -> ServedModel:
        """Return what an edge needs to know of this version."""
        manifest = self.model.manifest
        return ServedModel(
            name=name,
            version=self.model.version,
            variant=self.variant.name,
            input=manifest.input,
            classes=manifest.classes,
            signatures=manifest.signatures,
        )


class LifecycleObserver(Protocol):
    """Who is told of every change; the metrics are one."""

    def version_changed(self, model: str, status: VersionStatus) -> None:
        """A version entered another state."""

    def version_available(self, model: str, served: ServedVersion, seconds: float) -> None:
        """A version went live, so many seconds after its first step."""


def pull_version(settings: Settings) -> VerifiedModel:
    """Pull the files that this machine will serve, or take them from the cache while the store is away.

    Blocks; called in the deployment hook before the workers start, and by the runner itself.

    Raises:
        StoreError: No verified version is to be had; the message says why.
        LookupError: No variant of the version can be served here.
    """
    cache = Cache(settings.model_cache_dir)
    resolved: Resolved | None
    try:
        remote = Remote.open(settings.model_store_url, patience_s=settings.model_store_timeout_s)
        resolved = resolve(remote, settings.model_name, settings.model_version)
        return pull(remote, resolved, cache, select=lambda manifest: _served_files(manifest, settings))
    except UnavailableError as error:
        resolved = cache.recall(settings.model_name, settings.model_version)
        if resolved is None:
            raise
        log.warning("%s; serving version %d, which served last, from the cache", error, resolved.version)
        return cache.verified(resolved, select=lambda manifest: _served_files(manifest, settings))


def _served_files(manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    return manifest.serving_files(choose_variant(manifest, settings.engine, settings.max_accuracy_loss))


class Lifecycle:
    """Brings the wanted version to life and keeps trying until it serves."""

    def __init__(self, settings: Settings, observer: LifecycleObserver) -> None:
        self._settings = settings
        self._observer = observer
        self._statuses: dict[int, VersionStatus] = {}
        self._served: dict[int, ServedVersion] = {}
        self._waiting_for = "the model is being pulled"
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Tell whether a checked version is available."""
        return bool(self._served)

    def describe(self) -> RunnerState:
        """Return what is known of every version, the highest first, and what answers."""
        name = self._settings.model_name
        return RunnerState(
            name=name,
            waiting_for=None if self._served else self._waiting_for,
            versions=tuple(self._statuses[version] for version in sorted(self._statuses, reverse=True)),
            served=tuple(served.describe(name) for served in self._served.values()),
        )

    def get(self, version: int) -> ServedVersion:
        """Return the version that answers under this number.

        Raises:
            NotReadyError: Nothing is available yet; the message says what is waited for.
            ModelNotFoundError: Something is, but not this version.
        """
        if not self._served:
            raise NotReadyError(self._waiting_for)
        if version not in self._served:
            raise ModelNotFoundError(f"version {version} is not available")
        return self._served[version]

    def start(self) -> None:
        """Begin to pull and load, beside whatever else the process does."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Give up trying, then unload; the batcher must have stopped before."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for version, served in list(self._served.items()):
            del self._served[version]
            served.engine.close()
            self._enter(self._statuses[version], State.UNLOADED)

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._served:
            try:
                await self._bring_to_life()
            except Exception as error:  # Whatever it is, the process stays up and says so.
                expected = isinstance(error, StoreError | LookupError)
                log.error("No model yet: %s; trying again in %.0f s", error, pause_s, exc_info=not expected)
                hint = " (publish one, or set MODEL_STORE_URL)" if isinstance(error, NotFoundError) else ""
                self._waiting_for = f"{error}{hint}"
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self._settings.load_retry_max_s)

    async def _bring_to_life(self) -> None:
        """Take every step from the store to the first answer, in order."""
        started = time.monotonic()
        settings = self._settings
        model = await asyncio.to_thread(pull_version, settings)
        label = None if settings.model_version.isdecimal() else settings.model_version
        status = VersionStatus(version=model.version, label=label, digest=model.digest, state=State.LOADING)
        self._statuses[model.version] = status
        try:
            variant = choose_variant(model.manifest, settings.engine, settings.max_accuracy_loss)
            self._enter(status, State.LOADING)
            threads = settings.engine_threads or available_cpus()
            engine = await asyncio.to_thread(load_engine, model, variant, threads)
            try:
                self._enter(status, State.CHECKING)
                await asyncio.to_thread(check_golden, engine, model, variant)
                self._enter(status, State.WARMING)
                served = await asyncio.to_thread(self._warm, engine, model, variant)
            except BaseException:
                engine.close()
                raise
        except Exception as error:
            status.error_code, status.error_message = type(error).__name__, str(error)
            self._enter(status, State.FAILED)
            raise
        status.error_code, status.error_message = "OK", ""
        self._served[model.version] = served
        self._enter(status, State.AVAILABLE)
        self._observer.version_available(settings.model_name, served, time.monotonic() - started)
        log.info(
            "Version %d of %s is available: %s, batches of at most %d, %.1f ms an image",
            model.version,
            settings.model_name,
            variant.name,
            served.batch_size,
            1000 * served.cost.latency_s(1),
        )
        await asyncio.to_thread(Cache(settings.model_cache_dir).remember, model, settings.model_version)

    def _warm(self, engine: Engine, model: VerifiedModel, variant: Variant) -> ServedVersion:
        cost = CostModel()
        size = learn_batch_size(
            engine,
            golden_pixels(model),
            max_size=self._settings.max_batch_size,
            budget_s=self._settings.warmup_budget_s,
            cost=cost,
        )
        return ServedVersion(model, variant, engine, size, cost)

    def _enter(self, status: VersionStatus, state: State) -> None:
        status.state = state
        self._waiting_for = f"version {status.version} is {state}"
        self._observer.version_changed(self._settings.model_name, status)
