"""The edge: HTTP in, HTTP out. `Edge.classify` and `Edge.predict` are the path of a request.

admit → read → decode → submit (queue → batch → engine, in the runner) → rank → answer
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from . import metrics, tfserving
from .admission import Admission, Deadline, Permit, Priority
from .answer import Answer, error_answer
from .body import announced_size, extract_image, read_body, require_json
from .cpus import available_cpus
from .decode import Decoder, ImageLimits
from .disconnect import unless_disconnected
from .entry import Result
from .errors import BadRequestError
from .openapi import INDEX_PAGE, openapi_document
from .ranking import rank
from .runner_client import RunnerClient
from .schema import Classification, ClassScore
from .settings import MIB, Settings
from .state import ServedModel


class ModelConvertor(StringConvertor):
    """The name of a model in a path: what follows a colon is what to do with it."""

    regex = "[^/:]+"


register_url_convertor("model", ModelConvertor())


class Edge:
    """Speaks HTTP, decodes images, and asks the runner for scores; knows no tensor library."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runner = RunnerClient()
        self.max_body_bytes = settings.max_request_mib * MIB
        self.admission = Admission(settings.max_in_flight, settings.max_in_flight_mib * MIB)
        self.decoder = Decoder(
            settings.decode_threads or available_cpus(),
            ImageLimits(settings.max_image_mib * MIB, settings.max_image_megapixels * 1_000_000),
        )

    async def start(self, runner_url: str) -> None:
        """Open the connections to the runner and the threads that decode."""
        self.decoder.start()
        await self.runner.start(runner_url)

    async def stop(self) -> None:
        """Admit nobody any more, then let go of threads and connections."""
        self.admission.close()
        self.decoder.stop()
        await self.runner.stop()

    async def classify(self, request: Request) -> Answer:
        """Answer `POST /classify`: one image in, the best classes with their names out."""
        with self.admit(request) as permit:
            body = await read_body(request, permit, self.max_body_bytes)
            image = await extract_image(request, body)
            model = await self.runner.model()
            top_k = read_top_k(request, self.settings.top_k, len(model.classes))
            result, decode_s = await unless_disconnected(request, self.infer([image], model, permit))
        best = [
            ClassScore(name=entry.name, index=entry.index, score=entry.score)
            for entry in rank(result.scores[0], model.classes, top_k)
        ]
        answer = Classification(model=model.name, version=model.version, predictions=best)
        return Answer(answer.model_dump_json().encode(), model, result, decode_s)

    async def predict(self, request: Request) -> Answer:
        """Answer `POST /v1/models/{model}:predict` in TensorFlow Serving's format."""
        require_json(request)
        with self.admit(request) as permit:
            body = await read_body(request, permit, self.max_body_bytes)
            question = tfserving.parse_predict(body, self.settings.max_instances)
            model = await self.runner.model()
            tfserving.require_model(request.path_params["model"], model)
            result, decode_s = await unless_disconnected(request, self.infer(question.images, model, permit))
        return Answer(tfserving.format_predict(question, result.scores), model, result, decode_s)

    async def infer(self, images: Sequence[bytes], model: ServedModel, permit: Permit) -> tuple[Result, float]:
        """Decode the images of a request that was admitted, and get their scores.

        Returns:
            The scores with what they waited for, and the time that decoding took, in seconds.
        """
        started = time.perf_counter()
        permit.count_images(len(images))
        pixels = await self.decoder.decode(images, model.input, permit)
        decode_s = time.perf_counter() - started
        result = await self.runner.submit(pixels, model, permit)
        permit.answered()
        return result, decode_s

    def admit(self, request: Request) -> AbstractContextManager[Permit]:
        """Return the block in which a request holds its place, as `Admission.admit` does."""
        return self.admission.admit(
            read_deadline(request, self.settings.request_timeout_ms),
            read_priority(request),
            announced_size(request, self.max_body_bytes),
        )

    async def status(self, request: Request) -> Response:
        """Answer `GET /v1/models/{model}`: the state of its versions."""
        body = tfserving.format_status(await self.runner.state(), request.path_params["model"])
        return Response(body, media_type="application/json")

    async def metadata(self, request: Request) -> Response:
        """Answer `GET /v1/models/{model}/metadata`: signatures and classes."""
        model = await self.runner.model()
        tfserving.require_model(request.path_params["model"], model)
        return Response(tfserving.format_metadata(model), media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Answer `GET /metrics`: edge and runner, in Prometheus' text format."""
        return Response(metrics.exposition(), headers={"content-type": metrics.CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        """Answer `GET /docs.json`: the description of this API."""
        return JSONResponse(openapi_document(self.settings))

    async def index(self, _: Request) -> Response:
        """Answer `GET /`: a page that shows the description, and tries it out."""
        return HTMLResponse(INDEX_PAGE)

    def app(self) -> Starlette:
        """Return the routes as an ASGI application."""
        return Starlette(
            routes=[
                Route("/classify", timed("classify", self.classify), methods=["POST"]),
                Route("/v1/models/{model:model}:predict", timed("predict", self.predict), methods=["POST"]),
                Route("/v1/models/{model:model}/metadata", answering(self.metadata), methods=["GET"]),
                Route("/v1/models/{model:model}", answering(self.status), methods=["GET"]),
                Route("/metrics", self.metrics, methods=["GET"]),
                Route("/docs.json", self.openapi, methods=["GET"]),
                Route("/", self.index, methods=["GET"]),
            ]
        )


def read_deadline(request: Request, max_ms: int) -> Deadline:
    """Return the deadline that the header `X-Request-Timeout-Ms` asks for, or the longest one.

    Raises:
        BadRequestError: The header is not a whole number of ms from 1 to `max_ms`.
    """
    text = request.headers.get("x-request-timeout-ms", str(max_ms))
    if not text.isdecimal() or not 1 <= int(text) <= max_ms:
        raise BadRequestError(f"X-Request-Timeout-Ms: {text!r} is not a whole number from 1 to {max_ms}")
    return Deadline(int(text) / 1000)


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
    if not text.isdecimal() or not 1 <= int(text) <= classes:
        raise BadRequestError(f"top_k: {text!r} is not a whole number from 1 to {classes}")
    return int(text)


def answering(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn the errors of an endpoint into answers."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:
            return error_answer(error)

    return answer


def timed(
    route: str, endpoint: Callable[[Request], Coroutine[Any, Any, Answer]]
) -> Callable[[Request], Awaitable[Response]]:
    """Turn an endpoint's answer into a response with its timings, its errors into answers, and count both."""

    async def answer(request: Request) -> Response:
        started = time.perf_counter()
        response: Response
        try:
            response = (await endpoint(request)).response()
        except Exception as error:
            response = error_answer(error)
        metrics.REQUESTS.labels(route, str(response.status_code)).inc()
        metrics.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
        return response

    return answer
