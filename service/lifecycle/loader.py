"""Load one version: pull → load → warm up → check, or the reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from engines.cpus import available_cpus
from engines.engine import Engine
from engines.registry import load_engine
from engines.selection import choose_variant
from model_store.catalog.reference import Resolved
from model_store.errors import (
    AccessDeniedError,
    DiskError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from model_store.trust.verify import VerifiedModel
from service.batching.batcher import Batcher
from service.batching.calibration import batch_of, calibrate
from service.batching.tuning import BatchProfile
from service.core.serving_state import VersionState
from service.host.memory import trim_memory
from service.host.thread_pool import WORK_NICENESS, run_in_background
from service.lifecycle.crash_loop_guard import CrashLoopGuard, LoadCrashedError
from service.lifecycle.desired_state import VersionSource
from service.lifecycle.golden_check import GoldenMismatchError, check_golden, golden_pixels
from service.lifecycle.loaded_version import LoadedVersion
from service.lifecycle.profile_store import ProfileStore
from service.settings import Settings


class LoadTimeoutError(Exception):
    """An engine was not loaded within `LOAD_TIMEOUT_S`."""


_FINAL = (IntegrityError, GoldenMismatchError, LookupError, LoadCrashedError, LoadTimeoutError)
"""Errors of the version itself; a retry would fail again and take time from the versions that serve."""

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (IntegrityError, "DATA_LOSS"),
    (NotFoundError, "NOT_FOUND"),
    (AccessDeniedError, "PERMISSION_DENIED"),
    (UnavailableError, "UNAVAILABLE"),
    (DiskError, "RESOURCE_EXHAUSTED"),
    (MemoryError, "RESOURCE_EXHAUSTED"),
    (StoreError, "FAILED_PRECONDITION"),
    (GoldenMismatchError, "FAILED_PRECONDITION"),
    (LoadCrashedError, "RESOURCE_EXHAUSTED"),
    (LoadTimeoutError, "DEADLINE_EXCEEDED"),
    (LookupError, "FAILED_PRECONDITION"),
)
"""Canonical gRPC status names, which TensorFlow Serving uses as `error_code`."""


def error_code(error: Exception) -> str:
    """Return the canonical status name of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "INTERNAL")


def is_final(error: Exception) -> bool:
    """Return whether the same version would fail again."""
    return isinstance(error, _FINAL)


class Loader:
    """Loads and unloads versions."""

    def __init__(self, settings: Settings, source: VersionSource, batcher: Batcher) -> None:
        self._settings = settings
        self._source = source
        self._batcher = batcher
        self._threads = settings.engine_threads or available_cpus()
        self._guard = CrashLoopGuard(settings.model_cache_dir / ".loading")
        self._profiles = ProfileStore(settings.model_cache_dir / ".learned", self._threads, settings.max_batch_size)

    def reset(self) -> None:
        """Allow versions again that crashed the process."""
        self._guard.reset()

    async def load(
        self, resolved: Resolved, on_state: Callable[[VersionState], None], loaded: Callable[[], list[LoadedVersion]]
    ) -> LoadedVersion:
        """Load a version, from the pull to the check against the golden set.

        Files, graph and weights are handled in other threads. The warm-up batches are queued like the
        batches of the versions that serve.

        Args:
            resolved: The version.
            on_state: Called with each state.
            loaded: Returns the versions that serve; the profile of a similar one replaces the calibration.

        Raises:
            Exception: Whatever failed; nothing of the version stays in memory.
        """
        on_state(VersionState.PULLING)
        model = await run_in_background(lambda: self._source.pull(resolved))
        with self._guard.loading(resolved.manifest_digest):
            on_state(VersionState.LOADING)
            version = await self._load_engine(model, parallel_compile=not loaded())
            try:
                await self._warm_up_and_check(version, on_state, loaded)
            except BaseException:
                await self.unload(version)
                raise
            await self._shrink(version)
        return version

    async def unload(self, version: LoadedVersion) -> None:
        """Wait for the last batch of a version, then free its memory."""
        await self._batcher.wait_drained(version)
        version.engine.close()
        await asyncio.to_thread(trim_memory)

    async def _shrink(self, version: LoadedVersion) -> None:
        """Free the memory of the largest warm-up batches."""
        await self._batcher.wait_drained(version)
        version.engine.shrink()
        await asyncio.to_thread(trim_memory)

    async def _load_engine(self, model: VerifiedModel, *, parallel_compile: bool) -> LoadedVersion:
        settings = self._settings
        variant = choose_variant(model.manifest, settings.engine, settings.precision, settings.max_accuracy_loss)
        pixels = golden_pixels(model)

        def load() -> Engine:
            engine = load_engine(
                model, variant, self._threads, settings.engine_streams, parallel_compile=parallel_compile
            )
            # The first run creates the kernels, ten times as slow as the next; live batches do not wait for it.
            for stream in (None, *(range(engine.streams) if engine.streams > 1 else ())):
                engine.run(pixels[:1], stream)
            return engine

        # The threads of an engine inherit the niceness of the thread that loads it.
        try:
            engine = await asyncio.wait_for(run_in_background(load, WORK_NICENESS), settings.load_timeout_s)
        except TimeoutError:  # The thread cannot be stopped; its result is dropped.
            raise LoadTimeoutError(
                f"{variant.name} was not loaded within LOAD_TIMEOUT_S={settings.load_timeout_s:g}"
            ) from None
        return LoadedVersion(model, variant, engine, BatchProfile(engine.streams))

    async def _warm_up_and_check(
        self,
        version: LoadedVersion,
        on_state: Callable[[VersionState], None],
        loaded: Callable[[], list[LoadedVersion]],
    ) -> None:
        """Warm a version up, then check it against the golden set."""
        on_state(VersionState.WARMING)
        pixels = golden_pixels(version.model)
        known = next((other.profile for other in loaded() if version.resembles(other)), None)
        await self._warm_up(version, pixels, known or await asyncio.to_thread(self._profiles.load, version))
        on_state(VersionState.CHECKING)
        results = [await self._batcher.run_warmup(version, pixels[at : at + 1]) for at in range(len(pixels))]
        check_golden(np.concatenate([result.scores for result in results]), version.model, version.variant)

    async def _warm_up(self, version: LoadedVersion, pixels: NDArray[np.uint8], known: BatchProfile | None) -> None:
        """Calibrate the batch size, which runs every size; or reuse a known profile.

        A known profile is not measured again, and not every size is run: beside a version that serves, or before the
        first response of a process, all sizes from 1 to 32 would take seconds.
        """

        async def run(batch: NDArray[np.uint8], streams: int) -> float:
            version.profile = BatchProfile(streams, batch_size=len(batch))
            result = await self._batcher.run_warmup(version, batch_of(batch, len(batch) * streams))
            return result.infer_s / streams

        if known:
            size = 1
            while size < known.batch_size:
                await run(batch_of(pixels, size), known.streams)
                size *= 2
            await run(batch_of(pixels, known.batch_size), known.streams)
            version.profile = deepcopy(known)
            return
        settings = self._settings
        version.profile = await calibrate(
            run,
            pixels,
            streams=version.engine.streams,
            max_size=settings.max_batch_size,
            budget_s=settings.warmup_budget_s,
        )
        await asyncio.to_thread(self._profiles.save, version)
