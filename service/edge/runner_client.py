"""The edge's client of the runner: scores for pixels, and what the runner serves."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
from numpy.typing import NDArray

from service.core.deadline import Deadline
from service.core.errors import NotReadyError, RunnerLostError, ServiceError
from service.core.result import Result
from service.core.serving_state import BatchingState, ModelInfo, RunnerState
from service.edge.admission import Permit
from service.host.memory import trim_memory
from service.ipc.client import SILENT, TIMEOUT_S, Connection, connect
from service.ipc.messages import FrameAddress, InferenceRequest
from service.telemetry import metrics

log = logging.getLogger("bentoml.edge")

_MAX_SILENCES = 2
"""Connections in a row on which a runner beside this edge may be silent; then it is killed, and BentoML starts the
next."""

_GRACE_S = 1.0
"""How much longer than the deadline the edge waits for the runner's own response that it has passed."""

_RECONNECT_S = 0.2
"""Pause before the next attempt to connect."""


class RunnerClient:
    """Keeps a connection to one runner, and knows at any time what the runner serves."""

    def __init__(self) -> None:
        self._address = FrameAddress(None)
        self._connection: Connection | None = None
        """The one for requests; none unless the runner's state is known."""
        self._silences: int | None = None
        """Silent connections in a row; none while the runner starts, and has not been heard yet."""
        self._process: str | None = None
        self._away: str | None = None
        """Why there is no connection, once one was tried."""
        self._changed = asyncio.Event()
        """Set, and replaced, whenever the runner's state changes."""
        self._watcher: asyncio.Task[None] | None = None

    async def start(self, url: str, port: int) -> None:
        """Begin to connect to the runner.

        Args:
            url: `file:///path/of/a.sock` for a Unix socket, as BentoML names it, or `http://host:port`.
            port: The port for frames in the second case.
        """
        self._address = FrameAddress.beside(url, port)
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close the connection."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    @property
    def ready(self) -> bool:
        """Return whether the runner is connected and serves a default version."""
        return self._state is not None and self._state.default is not None

    @property
    def _state(self) -> RunnerState | None:
        return self._connection.state if self._connection else None

    async def state(self) -> RunnerState:
        """Return what the runner serves, as of its last response; waits only for the first connection.

        Raises:
            RunnerLostError: It is not connected.
        """
        if state := self._state:
            return state
        if self._away is None:
            await self._wait_for_change(TIMEOUT_S)
        if state := self._state:
            return state
        raise RunnerLostError(self._away or "the runner does not answer yet")

    async def wait_until_available(self, deadline: Deadline) -> RunnerState:
        """Wait until a runner that was lost serves again.

        Raises:
            RunnerLostError: It is still away at the deadline.
        """
        while (state := self._state) is None or state.default is None:
            if not await self._wait_for_change(deadline.remaining_s()):
                raise RunnerLostError("the runner went away, and was not back within the deadline")
        return state

    async def submit(self, pixels: NDArray[np.uint8], model: ModelInfo, permit: Permit) -> Result:
        """Return the scores of the images of a request that was admitted.

        Raises:
            ServiceError: The runner's error, as the class that it has there.
            RunnerLostError: The runner is away, or went away; it may be starting again.
        """
        permit.deadline.check()
        connection = self._connected()
        number = connection.number()
        request = InferenceRequest(number, model.version, permit.deadline, permit.priority, pixels)
        return await connection.infer(request, permit.deadline.remaining_s() + _GRACE_S)

    async def reload(self, timeout_s: float) -> RunnerState:
        """Have the runner read the labels now, and return what it serves once they are followed.

        Raises:
            ReloadFailedError: A version that a label points to cannot be served.
            NotReadyError: The runner, or the store, does not answer.
            DeadlineExceededError: It is not done within `timeout_s`; the runner goes on with it.
        """
        await self._connected().reload(timeout_s)
        return await self.state()

    async def batching(self) -> BatchingState:
        """Return the state of the runner's batcher.

        Raises:
            NotReadyError: It does not answer.
        """
        return await self._connected().batching()

    def _connected(self) -> Connection:
        if self._connection is None:
            raise RunnerLostError(self._away or "the runner does not answer yet")
        return self._connection

    async def _wait_for_change(self, timeout_s: float) -> bool:
        """Wait until the state changes; return whether it did in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _watch(self) -> None:
        """Keep a connection; replace one that is lost or silent, and a runner on this machine that stays silent."""
        while True:
            try:
                error = await self._connect()
            except RunnerLostError as lost:
                error, self._silences = lost, None
            except Exception as unexpected:  # Nothing may end this task, or the edge would never connect again.
                error = ServiceError(f"the runner cannot be watched: {unexpected}")
            if not isinstance(error, NotReadyError) and str(error) != self._away:
                log.error("%s", error)
            self._away = str(error)
            self._notify()
            await asyncio.sleep(_RECONNECT_S)

    async def _connect(self) -> ServiceError:
        """Open a connection, and return why it ended."""
        connection = await connect(self._address, self._on_change)
        try:
            error = await connection.wait_ended()
        except asyncio.CancelledError:
            connection.abort()
            raise
        if connection.signs_of_life:
            self._silences = 0
        if error.reason != SILENT:
            self._silences = None
            return error
        if self._silences is not None:
            self._silences += 1
            if self._silences >= _MAX_SILENCES and connection.kill_runner():
                self._silences = None
                log.critical("The runner has been silent for too long, and was killed; another takes its place")
        connection.abort()  # Its requests may wait for the next runner instead.
        return error

    def _on_change(self, connection: Connection) -> None:
        """Use a connection as soon as its state is known, and no longer than that."""
        if state := connection.state:
            self._connection = connection
            if self._away is not None:  # The pixels of the requests that were lost with the last one are free now.
                self._away = None
                asyncio.get_running_loop().run_in_executor(None, trim_memory)
            if self._process not in (None, state.process):
                log.warning("The runner has been started again")
                metrics.RUNNER_RESTARTS.inc()
            self._process = state.process
        elif connection is self._connection:
            self._connection, self._away = None, str(connection.error)
        self._notify()

    def _notify(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()
