"""The edge: HTTP in, HTTP out. `Edge.classify` and `Edge.infer` are the path of a request.

admit → read → choose a version → decode → submit (queue → batch → engine, in the runner) → rank → answer
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from . import logs, metrics, tracing
from .admission import Admission, Deadline, Permit, Priority
from .answer import Answer
from .body import announced_size, extract_image, read_body
from .connections import allow_connections, tend_connections
from .cpus import available_cpus
from .decode import Decoder, ImageLimits
from .digits import read_digits
from .disconnect import unless_disconnected
from .endpoints import Answering, Timed
from .errors import BadRequestError, ModelNotFoundError, PayloadTooLargeError, RunnerLostError
from .inference import Inference
from .memory import cut_loose, spare_garbage_collection, tidy_often
from .openapi import INDEX_PAGE, openapi_document
from .ranking import rank
from .runner_client import RunnerClient
from .schema import Classification, ClassScore
from .settings import MIB, Settings
from .state import RunnerState, ServedModel, Target
from .supervision import end_with_supervisor

Choose = Callable[[RunnerState], ServedModel]
"""Picks the version that a request asks for, or raises what its caller is told."""


_QUERIES = {"top_k", "version", "label"}
"""The query parameters of `/classify`."""


class Edge:
    """Speaks HTTP, decodes images, and asks the runner for scores; knows no tensor library."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runner = RunnerClient()
        self.max_body_bytes = settings.max_request_mib * MIB
        self.admission = Admission(
            settings.max_in_flight // settings.edge_workers, settings.max_in_flight_mib * MIB // settings.edge_workers
        )
        self.decoder = Decoder(
            settings.decode_threads or available_cpus(),
            ImageLimits(settings.max_image_mib * MIB, settings.max_image_megapixels * 1_000_000),
        )

    async def start(self, runner_url: str, runner_port: int) -> None:
        """Open the connections to the runner and the threads that decode."""
        end_with_supervisor()
        logs.configure(self.settings.log_format, "edge")
        tracing.start()
        allow_connections()
        tend_connections(self.settings.edge_workers)
        spare_garbage_collection()
        self.decoder.start()
        self._tidying = asyncio.create_task(tidy_often())
        await self.runner.start(runner_url, runner_port)

    async def stop(self) -> None:
        """Admit nobody any more, then let go of threads and connections."""
        self.admission.close()
        self._tidying.cancel()
        await self.decoder.stop()
        await self.runner.stop()
        await tracing.stop()

    async def classify(self, request: Request) -> Answer:
        """Answer `POST /classify`: one image in, the best classes with their names out."""
        with self.admit(request) as permit:
            body = await self.read_body(request, permit)
            image = await extract_image(request, body)
            del body  # A form would hold its image twice while it waits.
            model = choose_named(request)(await self.runner.state())
            top_k = read_top_k(request, self.settings.top_k, len(model.classes))
            done = await self.infer(request, [image], choose_named(request), permit)
        best = [
            ClassScore(name=entry.name, index=entry.index, score=entry.score)
            for entry in rank(done.result.scores[0], done.model.classes, top_k)
        ]
        answer = Classification(model=done.model.name, version=done.model.version, predictions=best)
        return Answer(answer.model_dump_json().encode(), done)

    async def infer(
        self, request: Request, inputs: Sequence[bytes] | NDArray[np.uint8], choose: Choose, permit: Permit
    ) -> Inference:
        """Get the scores of the images of a request that was admitted, unless its caller hangs up.

        A version that is swapped out while the request is under way is chosen anew, once; a runner that goes away
        is waited for, and asked again, once.

        Args:
            request: Is watched for its caller hanging up.
            inputs: Encoded images, or pixels, `uint8 [n, height, width, 3]`.
            choose: Picks the version from what the runner serves.
            permit: Proof of admission.

        Raises:
            ServiceError: No such version, undecodable, refused, late or failed.
            ClientDisconnectedError: The caller hung up.
        """
        permit.count_images(len(inputs))
        return await unless_disconnected(request, self._infer(inputs, choose, permit))

    async def _infer(self, inputs: Sequence[bytes] | NDArray[np.uint8], choose: Choose, permit: Permit) -> Inference:
        model = choose(await self.runner.state())
        try:
            return await self._ask(inputs, model, permit)
        except ModelNotFoundError:
            state = await self.runner.fresh_state()
        except RunnerLostError as lost:
            cut_loose(lost)
            state = await self.runner.returned(permit.deadline)
        return await self._ask(inputs, choose(state), permit)

    async def _ask(self, inputs: Sequence[bytes] | NDArray[np.uint8], model: ServedModel, permit: Permit) -> Inference:
        started = time.perf_counter()
        if isinstance(inputs, np.ndarray):
            pixels = require_pixels(inputs, model)
        else:
            pixels = await self.decoder.decode(inputs, model.input, permit)
        if pixels.nbytes > self.settings.queue_max_mib * MIB:
            raise PayloadTooLargeError(
                f"{len(pixels)} images are {pixels.nbytes} bytes of pixels; at most "
                f"{self.settings.queue_max_mib} MiB may wait"
            )
        decode_s = time.perf_counter() - started
        result = await self.runner.submit(pixels, model, permit)
        permit.answered()
        return Inference(model, result, decode_s, started, time.perf_counter())

    def admit(self, request: Request) -> Permit:
        """Return the block in which a request holds its place, as `Admission.admit` does."""
        return self.admission.admit(
            read_deadline(request, self.settings.request_timeout_ms),
            read_priority(request),
            announced_size(request, self.max_body_bytes),
            request.scope.get("caller"),
        )

    async def read_body(self, request: Request, permit: Permit) -> bytes:
        """Read the body of a request that was admitted, within the limits of size and time.

        Raises:
            ServiceError: It is too large, too slow, or more than there is room for.
            ClientDisconnectedError: The caller hung up before its end.
        """
        return await read_body(request, permit, self.max_body_bytes, self.settings.body_timeout_ms / 1000)

    async def metrics(self, _: Request) -> Response:
        """Answer `GET /metrics`: edge and runner, in Prometheus' text format."""
        return Response(metrics.exposition(ready=self.runner.ready), headers={"content-type": metrics.CONTENT_TYPE})

    async def ready(self, _: Request) -> Response:
        """Answer `GET /readyz`: 200 while a checked version answers.

        Raises:
            NotReadyError: None does; the message says what is waited for.
        """
        (await self.runner.state()).require_ready()
        return Response(b"ready\n", media_type="text/plain")

    async def openapi(self, _: Request) -> Response:
        """Answer `GET /docs.json`: the description of this API."""
        return JSONResponse(openapi_document(self.settings))

    async def index(self, _: Request) -> Response:
        """Answer `GET /`: a page that shows the description, and tries it out."""
        return HTMLResponse(INDEX_PAGE)

    def routes(self) -> list[Route]:
        """Return the routes that belong to no protocol."""
        return [
            Route("/classify", Timed("classify", self.classify), methods=["POST"]),
            Route("/readyz", Answering(self.ready), methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/docs.json", self.openapi, methods=["GET"]),
            Route("/", self.index, methods=["GET"]),
        ]


def choose_named(request: Request) -> Choose:
    """Return what picks the version that `?version=` or `?label=` names, or the default one.

    Raises:
        BadRequestError: Both are given, the version is no number, or there are other parameters.
    """
    if unknown := sorted(set(request.query_params) - _QUERIES):
        raise BadRequestError(f"{unknown[0][:99]}: no such query parameter; there are {', '.join(sorted(_QUERIES))}")
    version, label = request.query_params.get("version"), request.query_params.get("label")
    if version is not None and label is not None:
        raise BadRequestError("version, label: give one of them, not both")
    number = read_digits(version) if version is not None else None
    if version is not None and number is None:
        raise BadRequestError(f"version: {version[:99]!r} is not a number")

    def choose(state: RunnerState) -> ServedModel:
        what = f"version {version}" if version is not None else f"label {label!r}"
        versions = ", ".join(str(number) for number in sorted(model.version for model in state.served))
        there = f"versions: {versions}; labels: {', '.join(sorted(state.labels)) or 'none'}"
        return state.require(Target(state.name, number, label), f"{what} is not served; {there}")

    return choose


def require_pixels(pixels: NDArray[np.uint8], model: ServedModel) -> NDArray[np.uint8]:
    """Return `pixels` if they are what the version takes, `uint8 [n, height, width, 3]`.

    Raises:
        BadRequestError: They have another shape; the message names both.
    """
    wanted = (model.input.height, model.input.width, 3)
    if pixels.shape[1:] != wanted:
        raise BadRequestError(f"an image has the shape {list(pixels.shape[1:])}; the model takes {list(wanted)}")
    return pixels


def read_deadline(request: Request, max_ms: int) -> Deadline:
    """Return the deadline that the header `X-Request-Timeout-Ms` asks for, or the longest one.

    Raises:
        BadRequestError: The header is not a whole number of ms from 1 to `max_ms`.
    """
    text = request.headers.get("x-request-timeout-ms", str(max_ms))
    number = read_digits(text)
    if number is None or not 1 <= number <= max_ms:
        raise BadRequestError(f"X-Request-Timeout-Ms: {text[:99]!r} is not a whole number from 1 to {max_ms}")
    return Deadline(number / 1000)


def read_priority(request: Request) -> Priority:
    """Return the priority that the header `X-Request-Priority` asks for; interactive unless it says `bulk`.

    Raises:
        BadRequestError: The header is something else.
    """
    text = request.headers.get("x-request-priority", "interactive")
    try:
        return Priority[text.upper()]
    except KeyError:
        raise BadRequestError(f"X-Request-Priority: {text!r} is neither 'interactive' nor 'bulk'") from None


def read_top_k(request: Request, default: int, classes: int) -> int:
    """Return how many classes to name.

    Raises:
        BadRequestError: `top_k` is not a whole number from 1 to the number of classes.
    """
    text = request.query_params.get("top_k", str(min(default, classes)))
    number = read_digits(text)
    if number is None or not 1 <= number <= classes:
        raise BadRequestError(f"top_k: {text[:99]!r} is not a whole number from 1 to {classes}")
    return number
