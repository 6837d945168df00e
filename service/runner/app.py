"""The runner: queue, engine and model versions, behind the connections of its edges."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.cpus import available_cpus
from service.batching.batcher import Batcher
from service.batching.queued_request import QueuedRequest
from service.core.deadline import Priority
from service.core.errors import BadRequestError
from service.core.serving_state import BatchingState, RunnerState
from service.host.memory import freeze_gc, limit_arenas
from service.ipc.messages import FrameAddress, InferenceRequest
from service.ipc.server import FrameServer
from service.lifecycle.reconciler import Reconciler
from service.runner.watchdog import Watchdog
from service.settings import MIB, Settings
from service.telemetry import metrics

_PUBLISH_S = 0.5
"""Interval at which the state of the batcher is recorded in the metrics."""


class Runner:
    """Returns scores for pixels; `FrameServer` connects it to the edges."""

    def __init__(self, settings: Settings) -> None:
        self._metrics = metrics.RunnerMetrics()
        self._model = settings.model_name
        self.batcher = Batcher(
            self._metrics,
            max_images=settings.queue_max_images,
            max_bytes=settings.queue_max_mib * MIB,
            threads=settings.engine_threads or available_cpus(),
            max_wait_s=settings.max_wait_ms / 1000,
            timeout_s=settings.engine_timeout_s,
        )
        self.frames = FrameServer(self, settings.queue_max_mib * MIB)
        self.lifecycle = Reconciler(settings, self._metrics, self.batcher)
        self.lifecycle.versions.subscribe(self.frames.publish_state)
        self._drain_s = settings.drain_timeout_s
        self._watchdog = Watchdog(self.batcher.stuck)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, address: FrameAddress) -> None:
        """Listen for edges, and begin to load the model; requests get 503 until it is available."""
        limit_arenas()
        freeze_gc()
        metrics.forget_dead()
        await self.frames.start(address)
        self.batcher.start()
        self.lifecycle.start()
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._watchdog.run())]

    async def stop(self) -> None:
        """Serve the edges until they have disconnected, then stop the batcher, then unload the model that it ran.

        BentoML stops edge and runner at the same moment; the edge still has to send the requests that it has admitted.
        """
        await self.frames.drain(self._drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.batcher.stop()
        await self.frames.stop()
        await self.lifecycle.stop()

    async def _publish(self) -> None:
        """Record the state of the batcher at intervals: doing so at every change would cost each request."""
        while True:
            self._metrics.batching_changed(self._model, self.describe_batching())
            await asyncio.sleep(_PUBLISH_S)

    def enqueue(self, request: InferenceRequest) -> QueuedRequest:
        """Queue the pixels of one request.

        Raises:
            ServiceError: No such version, not its input, or no room.
        """
        version = self.lifecycle.versions.get(request.version)
        contract = version.model.manifest.input
        pixels = request.pixels
        if pixels.shape[1:] != (contract.height, contract.width, 3) or not len(pixels):
            raise BadRequestError(f"pixels of shape {list(pixels.shape)} are not this version's input")
        return self.batcher.enqueue(version, pixels, request.deadline, request.priority)

    async def reload(self) -> None:
        """Read the labels now, and return once they are followed.

        Raises:
            ServiceError: As `Reconciler.reload`.
        """
        await self.lifecycle.reload()

    def describe(self) -> RunnerState:
        """Return the state of the versions, and what those that serve take and return."""
        return self.lifecycle.versions.describe()

    def describe_batching(self) -> BatchingState:
        """Return the state of the batcher."""
        batcher = self.batcher
        return BatchingState(
            queue_images=batcher.images,
            queue_images_max=batcher.max_images,
            queue_bytes=batcher.bytes,
            queue_bytes_max=batcher.max_bytes,
            queue_seconds=batcher.backlog_s(Priority.BULK),
            running_batches=batcher.running,
            versions=tuple(version.describe_batching() for version in self.lifecycle.versions.loaded()),
        )

    async def metrics(self, _: Request) -> Response:
        """Respond to `GET /metrics`, which is for a runner without an edge beside it: that edge's has them, too."""
        text = metrics.exposition(ready=self.lifecycle.ready)
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    def app(self) -> Starlette:
        """Return the routes as an ASGI application."""
        return Starlette(routes=[Route("/metrics", self.metrics, methods=["GET"])])
