"""The edge's way to the runner: scores for pixels, and what the runner serves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from . import wire
from .admission import Permit
from .entry import Result
from .errors import DeadlineExceededError, NotReadyError, ServiceError
from .frame_client import FrameClient
from .state import BatchingState, RunnerState, ServedModel

_KEEPALIVE_S = 2.0
"""Shorter than the 5 s after which the runner's server closes an idle connection: never write into a closing one."""

_DESCRIBE_TIMEOUT_S = 5.0

_RELOAD_TIMEOUT_S = 600.0
"""How long a reload is followed; whoever asked may be told before that it goes on."""

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
        self._watcher: asyncio.Task[None] | None = None
        self._reloads: set[asyncio.Task[RunnerState]] = set()

    async def start(self, url: str, port: int) -> None:
        """Open the session and begin to watch the runner.

        Args:
            url: `file:///path/of/a.sock` for a Unix socket, as BentoML names it, or `http://host:port`.
            port: Where it takes frames in the second case.
        """
        self._frames = FrameClient(wire.FrameAddress.beside(url, port))
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

    async def state(self) -> RunnerState:
        """Return what the runner serves; asks only where the watch has nothing yet.

        Raises:
            NotReadyError: It does not answer.
        """
        return self._state or await self.fresh_state()

    async def fresh_state(self) -> RunnerState:
        """Ask the runner what it serves at this moment.

        Raises:
            NotReadyError: It does not answer.
        """
        return await self._describe("", _DESCRIBE_TIMEOUT_S)

    async def submit(self, pixels: NDArray[np.uint8], model: ServedModel, permit: Permit) -> Result:
        """Get the scores of the images of a request that was admitted.

        Raises:
            ServiceError: Whatever the runner met, as the class that it was there.
            NotReadyError: The runner does not answer; it may be starting again.
        """
        if self._frames is None:
            raise NotReadyError("the edge is not started")
        permit.deadline.check()
        number = self._frames.number()
        question = wire.Question(number, model.version, permit.deadline, permit.priority, pixels)
        return await self._frames.ask(question, permit.deadline.remaining_s() + _GRACE_S)

    async def reload(self, timeout_s: float) -> RunnerState:
        """Have the runner look at the labels now, and return what it serves once it has done what they say.

        Raises:
            ReloadFailedError: A version that a label points to cannot be served.
            NotReadyError: The runner, or the store, does not answer.
            DeadlineExceededError: It is not done in time; the runner goes on with it.
        """
        reload = asyncio.create_task(self._reload())
        self._reloads.add(reload)  # The loop itself holds tasks by weak references only.
        reload.add_done_callback(self._forget)
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
            return self._hear(await self._call("POST", wire.RELOAD_PATH, timeout_s=_RELOAD_TIMEOUT_S))
        except ServiceError:
            with suppress(ServiceError):
                await self.fresh_state()
            raise

    def _forget(self, reload: asyncio.Task[RunnerState]) -> None:
        self._reloads.discard(reload)
        if not reload.cancelled():
            reload.exception()  # Looked at, or asyncio would complain where nobody waited until the end.

    async def _watch(self) -> None:
        """Keep a request open that the runner answers as soon as it serves something else."""
        while True:
            revision = self._state.revision if self._state else ""
            try:
                await self._describe(revision, wire.WATCH_S + _DESCRIBE_TIMEOUT_S)
            except ServiceError:
                await asyncio.sleep(_WATCH_PAUSE_S)

    async def _describe(self, revision: str, timeout_s: float) -> RunnerState:
        try:
            body = await self._call(
                "GET", wire.MODELS_PATH, timeout_s=timeout_s, params={wire.AFTER: revision} if revision else None
            )
        except ServiceError:
            self._state = None
            raise
        return self._hear(body)

    def _hear(self, body: bytes) -> RunnerState:
        """Take in what the runner says, unless something newer was heard over another connection meanwhile."""
        state = RunnerState.model_validate_json(body)
        if self._state is None or not state.precedes(self._state):
            self._state = state
        return self._state

    async def _call(self, method: str, path: str, *, timeout_s: float, **arguments: Any) -> bytes:
        if self._http is None:
            raise NotReadyError("the edge is not started")
        try:
            answer = await self._http.request(method, path, timeout=timeout_s, **arguments)
        except (httpx.TransportError, OSError) as error:
            raise NotReadyError(
                f"the runner does not answer ({type(error).__name__}); it may be starting again"
            ) from error
        if answer.status_code == 200:
            return answer.content
        with suppress(orjson.JSONDecodeError, KeyError):
            raise wire.read_error(answer.content)
        raise ServiceError(f"the runner answered {answer.status_code}")
