"""The runner: queue, engine and model versions, behind frames of pixels and a few routes that only the edge calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from engines.cpus import available_cpus
from service.batching.batcher import Batcher
from service.batching.queue_entry import QueuedRequest
from service.core.deadline import Priority
from service.core.errors import BadRequestError, ClientDisconnectedError, InferenceError, ServiceError
from service.core.serving_state import BatchingState
from service.edge.cancellation import cancel_on_disconnect
from service.host.memory import limit_heaps, tune_gc
from service.http.disconnect import disconnected
from service.ipc import messages as wire
from service.ipc.server import FrameServer
from service.lifecycle.reconciler import Reconciler
from service.runner.watchdog import Watchdog
from service.settings import MIB, Settings
from service.telemetry import metrics

log = logging.getLogger("bentoml.runner")

_PUBLISH_S = 0.5
"""Time between two looks at the batcher for the metrics."""


class Runner:
    """Answers an edge with the scores of pixels."""

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
        self.frames = FrameServer(self.enqueue, settings.queue_max_mib * MIB)
        self.lifecycle = Reconciler(settings, self._metrics, self.batcher)
        self._drain_s = settings.drain_timeout_s
        self._watchdog = Watchdog(self.batcher.stuck)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, address: wire.FrameAddress) -> None:
        """Listen for questions, and begin to load the model; they get 503 until it is there."""
        limit_heaps()
        tune_gc()
        metrics.forget_dead()
        await self.frames.start(address)
        self.batcher.start()
        self.lifecycle.start()
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._watchdog.run())]

    async def stop(self) -> None:
        """Answer the edges until they have gone, then stop the batcher, then unload the model that it ran.

        BentoML tells edge and runner to stop at the same moment; what the edge has taken on it still has to ask.
        """
        await self.frames.drain(self._drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.batcher.stop()
        await self.frames.stop()
        await self.lifecycle.stop()

    async def _publish(self) -> None:
        """Record the state of the batcher every now and then: doing so at every change would cost each request."""
        while True:
            self._metrics.batching_changed(self._model, self.describe_batching())
            await asyncio.sleep(_PUBLISH_S)

    def enqueue(self, request: wire.InferenceRequest) -> QueuedRequest:
        """Queue the pixels of one request.

        Raises:
            ServiceError: No such version, not its input, or no room.
        """
        served = self.lifecycle.versions.get(request.version)
        contract = served.model.manifest.input
        pixels = request.pixels
        if pixels.shape[1:] != (contract.height, contract.width, 3) or not len(pixels):
            raise BadRequestError(f"pixels of shape {list(pixels.shape)} are not this version's input")
        return self.batcher.enqueue(served, pixels, request.deadline, request.priority)

    def describe_batching(self) -> BatchingState:
        """Return what the batcher does at this moment."""
        batcher = self.batcher
        return BatchingState(
            queue_images=batcher.images,
            queue_images_max=batcher.max_images,
            queue_bytes=batcher.bytes,
            queue_bytes_max=batcher.max_bytes,
            queue_seconds=batcher.backlog_s(Priority.BULK),
            running_batches=batcher.running,
            versions=tuple(served.describe_batching() for served in self.lifecycle.versions.loaded()),
        )

    async def batching(self, _: Request) -> Response:
        """Answer what the batcher does at this moment."""
        return Response(self.describe_batching().model_dump_json(), media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Answer `GET /metrics` where a runner stands alone; one beside an edge is told of by that."""
        text = metrics.exposition(ready=self.lifecycle.ready)
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    async def models(self, request: Request) -> Response:
        """Describe the versions: the state of each, and what those that answer take and give."""
        known = request.query_params.get(wire.AFTER, "")
        state = await cancel_on_disconnect(
            self.lifecycle.versions.describe_after(known, wire.WATCH_S), disconnected(request)
        )
        return Response(state.model_dump_json(), media_type="application/json")

    async def reload(self, request: Request) -> Response:
        """Look at the labels now, and describe the versions once what they say is done."""
        state = await cancel_on_disconnect(self.lifecycle.reload(), disconnected(request))
        return Response(state.model_dump_json(), media_type="application/json")

    def app(self) -> Starlette:
        """Return the routes as an ASGI application."""
        return Starlette(
            routes=[
                Route("/metrics", self.metrics, methods=["GET"]),
                Route(wire.BATCHING_PATH, _answering(self.batching), methods=["GET"]),
                Route(wire.MODELS_PATH, _answering(self.models), methods=["GET"]),
                Route(wire.RELOAD_PATH, _answering(self.reload), methods=["POST"]),
            ]
        )


def _answering(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn every error of an endpoint into an answer that the edge can read."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ServiceError as error:
            return _error_response(error)
        except (ClientDisconnectedError, ClientDisconnect):
            return Response(status_code=499)
        except Exception:
            log.exception("The runner failed")
            return _error_response(InferenceError("the runner failed; its log says why"))

    return answer


def _error_response(error: ServiceError) -> Response:
    return Response(wire.error_body(error), status_code=error.status, media_type="application/json")
