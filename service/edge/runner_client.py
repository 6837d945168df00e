"""The edge's way to the runner: scores for pixels, and what the runner serves."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from service.core.deadline import Deadline
from service.core.errors import DeadlineExceededError, NotReadyError, RunnerLostError, ServiceError
from service.core.result import Result
from service.core.serving_state import BatchingState, ModelInfo, RunnerState
from service.edge.admission import Permit
from service.host.memory import give_back_memory
from service.ipc import messages as wire
from service.ipc.client import FrameClient
from service.telemetry import metrics

log = logging.getLogger("bentoml.edge")

_KEEPALIVE_S = 2.0
"""Shorter than the 5 s after which the runner's server closes an idle connection: never write into a closing one."""

_DESCRIBE_TIMEOUT_S = 5.0

_SILENCE_S = 3.0
"""How much longer than `WATCH_S` a runner may take to say that nothing has changed; then it counts as silent."""

_SILENT = "runner_silent"
_SILENCES = 2
"""Times in a row that a runner beside this edge may be silent; then it is killed, and BentoML starts another."""

_RELOAD_TIMEOUT_S = 600.0
"""How long a reload is followed at most; whoever asked may be told before that it goes on."""

_GRACE_S = 1.0
"""How much longer than the deadline the edge waits for the runner to say so itself."""

_WATCH_PAUSE_S = 0.2
"""Before a runner that did not answer is asked again what it serves."""


class RunnerClient:
    """Connections to one runner, kept open; knows at any time what the runner serves."""

    def __init__(self) -> None:
        self._http: httpx.AsyncClient | None = None
        self._frames: FrameClient | None = None
        self._state: RunnerState | None = None
        self._process: str | None = None
        self._away: str | None = None
        """Why the watch has nothing, once it has tried."""
        self._news = asyncio.Event()
        """Set, and replaced, whenever the runner says something new."""
        self._watcher: asyncio.Task[None] | None = None
        self._reloads: set[asyncio.Task[RunnerState]] = set()

    async def start(self, url: str, port: int) -> None:
        """Open the session and begin to watch the runner.

        Args:
            url: `file:///path/of/a.sock` for a Unix socket, as BentoML names it, or `http://host:port`.
            port: Where it takes frames in the second case.
        """
        self._frames = FrameClient(wire.FrameAddress.beside(url, port), self._invalidate)
        parts = urlsplit(url)
        local = parts.scheme in ("file", "unix")
        limits = httpx.Limits(keepalive_expiry=_KEEPALIVE_S)
        self._http = httpx.AsyncClient(
            base_url="http://runner" if local else url,
            trust_env=False,  # No proxy stands between edge and runner, whatever the environment says for the store.
            transport=httpx.AsyncHTTPTransport(uds=unquote(parts.path) if local else None, limits=limits),
        )
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching, then close all connections."""
        tasks = [*self._reloads, *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._frames:
            self._frames.close()
        if self._http:
            await self._http.aclose()

    @property
    def ready(self) -> bool:
        """Tell, without asking, whether the runner is there and a checked version answers."""
        return self._state is not None and self._state.default is not None

    async def state(self) -> RunnerState:
        """Return what the runner serves; asks only where the watch has nothing yet.

        Raises:
            NotReadyError: It does not answer.
        """
        if self._state:
            return self._state
        if self._away:
            raise RunnerLostError(self._away)
        return await self.fresh_state()

    async def fresh_state(self) -> RunnerState:
        """Ask the runner what it serves at this moment.

        Raises:
            NotReadyError: It does not answer.
        """
        return await self._describe("", _DESCRIBE_TIMEOUT_S)

    async def wait_until_available(self, deadline: Deadline) -> RunnerState:
        """Wait until a runner that was lost serves again, but no longer than anybody waits for the answer.

        Raises:
            RunnerLostError: It is still away.
        """
        while self._state is None or self._state.default is None:
            try:
                async with asyncio.timeout(deadline.remaining_s()):
                    await self._news.wait()
            except TimeoutError:
                raise RunnerLostError("the runner went away, and was not back within the deadline") from None
        return self._state

    async def submit(self, pixels: NDArray[np.uint8], model: ModelInfo, permit: Permit) -> Result:
        """Get the scores of the images of a request that was admitted.

        Raises:
            ServiceError: Whatever the runner met, as the class that it was there.
            RunnerLostError: The runner is away, or went away; it may be starting again.
        """
        if self._frames is None:
            raise NotReadyError("the edge is not started")
        permit.deadline.check()
        number = self._frames.number()
        question = wire.InferenceRequest(number, model.version, permit.deadline, permit.priority, pixels)
        try:
            return await self._frames.ask(question, permit.deadline.remaining_s() + _GRACE_S)
        except RunnerLostError:
            self._state = None
            raise

    async def reload(self, timeout_s: float) -> RunnerState:
        """Have the runner look at the labels now, and return what it serves once it has done what they say.

        Raises:
            ReloadFailedError: A version that a label points to cannot be served.
            NotReadyError: The runner, or the store, does not answer.
            DeadlineExceededError: It is not done in time; the runner goes on with it.
        """
        reload = asyncio.create_task(self._reload())
        self._reloads.add(reload)  # The loop itself holds tasks by weak references only.
        reload.add_done_callback(self._discard)
        done, _ = await asyncio.wait([reload], timeout=timeout_s)
        if not done:
            raise DeadlineExceededError(
                f"not done within {timeout_s * 1000:.0f} ms, and going on; the status tells how far it is"
            )
        return reload.result()

    async def batching(self) -> BatchingState:
        """Ask the runner what its batcher does at this moment.

        Raises:
            NotReadyError: It does not answer.
        """
        return BatchingState.model_validate_json(
            await self._call("GET", wire.BATCHING_PATH, timeout_s=_DESCRIBE_TIMEOUT_S)
        )

    async def _reload(self) -> RunnerState:
        """Have the runner look at the labels; know what came of it, whichever way it went, before anybody is told."""
        try:
            return self._apply_state(await self._call("POST", wire.RELOAD_PATH, timeout_s=_RELOAD_TIMEOUT_S))
        except ServiceError:
            with suppress(ServiceError):
                await self.fresh_state()
            raise

    def _discard(self, reload: asyncio.Task[RunnerState]) -> None:
        self._reloads.discard(reload)
        if not reload.cancelled():
            reload.exception()  # Looked at, or asyncio would complain where nobody waited until the end.

    async def _watch(self) -> None:
        """Keep a request open that the runner answers as soon as it serves something else."""
        heard, silences = False, 0
        while True:
            revision = self._state.revision if self._state else ""
            try:
                await self._describe(revision, wire.WATCH_S + _SILENCE_S)
                if self._frames:
                    await self._frames.connect(_DESCRIBE_TIMEOUT_S)
                heard, silences = True, 0
                was_away, self._away = self._away is not None, None
                if was_away:  # The pixels of all who waited for it are free now.
                    await asyncio.to_thread(give_back_memory)
            except ServiceError as error:
                self._away = str(error)
                heard = heard and error.reason == _SILENT  # One that has said nothing yet is still starting.
                silences = silences + 1 if heard else 0
                if silences >= _SILENCES and self._frames and self._frames.peer and self._frames.peer.kill():
                    heard = False
                    log.critical("The runner has been silent for too long, and was killed; another takes its place")
                await asyncio.sleep(_WATCH_PAUSE_S)
            except Exception as error:  # Nothing may end this task, or no change would ever be heard of again.
                if self._away != (away := f"the runner cannot be watched: {error}"):
                    log.exception("The runner cannot be watched")
                self._away = away
                await asyncio.sleep(_WATCH_PAUSE_S)

    def _invalidate(self) -> None:
        self._state = None

    async def _describe(self, revision: str, timeout_s: float) -> RunnerState:
        try:
            body = await self._call(
                "GET", wire.MODELS_PATH, timeout_s=timeout_s, params={wire.AFTER: revision} if revision else None
            )
        except RunnerLostError:
            if not (self._frames and self._frames.connected):  # One that shuts down still answers what it was asked.
                self._state = None
            raise
        except ServiceError:
            self._state = None
            if self._frames:
                self._frames.close()  # Whoever waits for a runner that is stuck may wait for the next one instead.
            raise
        return self._apply_state(body)

    def _apply_state(self, body: bytes) -> RunnerState:
        """Take in what the runner says, unless something newer was heard over another connection meanwhile."""
        try:
            state = RunnerState.model_validate_json(body)
        except ValidationError as error:
            raise ServiceError(f"the runner said what this release does not understand: {error}") from error
        if self._state is None or not state.precedes(self._state):
            self._state = state
            self._news.set()
            self._news = asyncio.Event()
        if self._process not in (None, state.process):
            log.warning("The runner has been started again")
            metrics.RUNNER_RESTARTS.inc()
            if self._frames:
                self._frames.close()  # Of the one before, should its machine have gone without a word.
        self._process = state.process
        return self._state

    async def _call(self, method: str, path: str, *, timeout_s: float, **arguments: Any) -> bytes:
        if self._http is None:
            raise NotReadyError("the edge is not started")
        try:
            answer = await self._http.request(method, path, timeout=timeout_s, **arguments)
        except httpx.TimeoutException as error:
            raise NotReadyError(
                f"the runner does not answer ({type(error).__name__}); it may be stuck", reason=_SILENT
            ) from error
        except (httpx.TransportError, OSError) as error:
            raise RunnerLostError(
                f"the runner does not answer ({type(error).__name__}); it may be starting again"
            ) from error
        if answer.status_code == 200:
            return answer.content
        with suppress(orjson.JSONDecodeError, KeyError, TypeError):
            raise wire.read_error(answer.content)
        raise ServiceError(f"the runner answered {answer.status_code}")
