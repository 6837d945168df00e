"""The runner: queue, engine and model versions behind three routes that only the edge calls."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from . import wire
from .batching import Batcher
from .disconnect import ClientDisconnectedError, unless_disconnected
from .errors import BadRequestError, InferenceError, ServiceError
from .lifecycle import Lifecycle
from .memory import limit_heaps
from .metrics import RunnerMetrics
from .settings import MIB, Settings

log = logging.getLogger("bentoml.runner")


class Runner:
    """Answers an edge with the scores of pixels."""

    def __init__(self, settings: Settings) -> None:
        metrics = RunnerMetrics()
        self.batcher = Batcher(
            metrics,
            max_images=settings.queue_max_images,
            max_bytes=settings.queue_max_mib * MIB,
            max_wait_s=settings.max_wait_ms / 1000,
        )
        self.lifecycle = Lifecycle(settings, metrics, self.batcher)

    def start(self) -> None:
        """Begin to load the model; requests get 503 until it is there."""
        limit_heaps()
        self.batcher.start()
        self.lifecycle.start()

    async def stop(self) -> None:
        """Stop the batcher, then unload the model that it ran."""
        await self.batcher.stop()
        await self.lifecycle.stop()

    async def infer(self, request: Request) -> Response:
        """Queue the pixels of one request and answer with their scores."""
        question = await wire.InferRequest.read(request)
        served = self.lifecycle.versions.get(question.version)
        contract = served.model.manifest.input
        if question.pixels.shape[1:] != (contract.height, contract.width, 3) or not len(question.pixels):
            raise BadRequestError(f"pixels of shape {list(question.pixels.shape)} are not this version's input")
        answer = self.batcher.submit(served, question.pixels, question.deadline, question.priority)
        return wire.result_response(await unless_disconnected(request, answer))

    async def models(self, request: Request) -> Response:
        """Describe the versions: the state of each, and what those that answer take and give."""
        known = request.query_params.get(wire.AFTER, "")
        state = await unless_disconnected(request, self.lifecycle.versions.describe_after(known, wire.WATCH_S))
        return Response(state.model_dump_json(), media_type="application/json")

    async def reload(self, request: Request) -> Response:
        """Look at the labels now, and describe the versions once what they say is done."""
        state = await unless_disconnected(request, self.lifecycle.reload())
        return Response(state.model_dump_json(), media_type="application/json")

    def app(self) -> Starlette:
        """Return the routes as an ASGI application."""
        return Starlette(
            routes=[
                Route(wire.INFER_PATH, _answering(self.infer), methods=["POST"]),
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
            return wire.error_response(error)
        except (ClientDisconnectedError, ClientDisconnect):
            return Response(status_code=499)
        except Exception:
            log.exception("The runner failed")
            return wire.error_response(InferenceError("the runner failed; its log says why"))

    return answer
