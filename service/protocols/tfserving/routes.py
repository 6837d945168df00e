"""Route TensorFlow Serving's REST API; the other modules here read and write its formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, TypeVar

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from service.core.errors import BadRequestError, InvalidImageError
from service.core.inference import Inference
from service.core.serving_state import ModelSpec, RunnerState
from service.edge.data_plane import VersionChooser
from service.http.endpoints import InferenceEndpoint, JsonEndpoint
from service.http.http_edge import HttpEdge
from service.http.request_body import require_json
from service.http.responses import InferenceResponse
from service.protocols.description import Describer, Description
from service.protocols.tfserving import models
from service.protocols.tfserving.body import parse_body
from service.protocols.tfserving.classify import Examples, format_classify, parse_examples, require_signature
from service.protocols.tfserving.openapi import describe
from service.protocols.tfserving.predict import PredictRequest, format_predict, parse_predict


class ModelConvertor(StringConvertor):
    """The name of a model or a label in a path; a colon ends it, and begins the method."""

    regex = "[^/:]+"


class VersionConvertor(StringConvertor):
    """The number of a version in a path, of any length."""

    regex = "[0-9]+"


class OtherConvertor(StringConvertor):
    """The rest of a path that TensorFlow Serving would call malformed; `reload` is this project's own."""

    regex = "(?!models/[^/:]+/reload$).*"


register_url_convertor("model", ModelConvertor())
register_url_convertor("version", VersionConvertor())
register_url_convertor("other", OtherConvertor())

MODEL_PATH = "/v1/models/{model:model}"

PATHS = (MODEL_PATH, MODEL_PATH + "/versions/{version:version}", MODEL_PATH + "/labels/{label:model}")
"""Paths of the default version, of one by number, and of one by label."""

ParsedRequest = TypeVar("ParsedRequest", PredictRequest, Examples)
"""Images or pixels of a request, and the field of each."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class TensorFlowServing:
    """The endpoints of the API."""

    def __init__(self, edge: HttpEdge) -> None:
        self._edge = edge

    def routes(self) -> list[Route]:
        """Return the routes; the last one matches all other paths below `/v1`."""
        known: list[Route] = []
        for path in PATHS:
            known += [
                Route(f"{path}:predict", InferenceEndpoint("predict", self.predict), methods=["POST"]),
                Route(f"{path}:classify", InferenceEndpoint("classify_examples", self.classify), methods=["POST"]),
                Route(f"{path}:regress", InferenceEndpoint("regress", self.regress), methods=["POST"]),
                Route(f"{path}/metadata", JsonEndpoint(self.metadata), methods=["GET"]),
                Route(path, JsonEndpoint(self.status), methods=["GET"]),
            ]
        return [*known, Route("/v1/{other:other}", JsonEndpoint(partial(reject_malformed, known)), methods=_METHODS)]

    def describe(self, describer: Describer) -> Description:
        """Return the description of this API."""
        return describe(describer)

    async def predict(self, request: Request) -> InferenceResponse:
        """Respond to `:predict` with the scores of images or pixels."""

        def read(body: bytes, state: RunnerState) -> PredictRequest:
            document = parse_body(body)
            return parse_predict(document, choose(state).signatures, self._edge.settings.max_instances)

        choose = choose_in_path(request)
        parsed, inference = await self._infer(request, choose, read)
        return InferenceResponse(format_predict(parsed, inference.result.scores), inference)

    async def classify(self, request: Request) -> InferenceResponse:
        """Respond to `:classify` with all classes and scores of each example."""

        def read(body: bytes, state: RunnerState) -> Examples:
            document = parse_body(body)
            examples = parse_examples(document, self._edge.settings.max_instances)
            require_signature(document, choose(state).signatures, "classify")
            return examples

        choose = choose_in_path(request)
        _, inference = await self._infer(request, choose, read)
        return InferenceResponse(format_classify(inference.result.scores, inference.model.classes), inference)

    async def regress(self, request: Request) -> InferenceResponse:
        """Reject `:regress`: first for errors in the request, else because the model has no such signature."""

        def read(body: bytes, state: RunnerState) -> NoReturn:
            document = parse_body(body)
            parse_examples(document, self._edge.settings.max_instances)
            require_signature(document, choose(state).signatures, "regress")
            raise BadRequestError("signature_name: no engine runs regression here; ask for ':predict' or ':classify'")

        choose = choose_in_path(request)
        _, inference = await self._infer(request, choose, read)
        return InferenceResponse(b"", inference)

    async def status(self, request: Request) -> Response:
        """Respond with the state of a model's versions."""
        body = models.format_status(await self._edge.runner.state(), read_target(request))
        return Response(body, media_type="application/json")

    async def metadata(self, request: Request) -> Response:
        """Respond with the signatures of a version."""
        model = choose_in_path(request)(await self._edge.runner.state())
        return Response(models.format_metadata(model), media_type="application/json")

    async def _infer(
        self, request: Request, choose: VersionChooser, read: Callable[[bytes, RunnerState], ParsedRequest]
    ) -> tuple[ParsedRequest, Inference]:
        """Return a parsed request, and the scores of its images.

        Args:
            request: With a JSON body.
            choose: Picks the version.
            read: Parses the body; what it allocates meanwhile is released before anything is awaited.
        """
        edge = self._edge
        with edge.admit(request) as permit:
            require_json(request)
            state = await edge.runner.state()
            parsed = read(await edge.read_body(request, permit), state)
            try:
                return parsed, await edge.infer(request, parsed.inputs, choose, permit)
            except InvalidImageError as error:
                raise error.within(parsed.fields) from error


async def reject_malformed(known: Sequence[Route], request: Request) -> Response:
    """Reject an unknown path as TensorFlow Serving does; a wrong method is named.

    Raises:
        BadRequestError: Always.
    """
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    if request.method == "GET" and path == "/v1/models":
        raise BadRequestError("Missing model name in request.")
    other_method = next((route for route in known if route.matches(request.scope)[0] == Match.PARTIAL), None)
    hint = f" (send it with {'POST' if 'POST' in (other_method.methods or ()) else 'GET'})" if other_method else ""
    raise BadRequestError(f"Malformed request: {request.method} {path}{hint}")


def read_target(request: Request) -> ModelSpec:
    """Return the model and version of the path.

    Raises:
        BadRequestError: The version is too large a number.
    """
    return models.parse_target(**request.path_params)


def choose_in_path(request: Request) -> VersionChooser:
    """Return a chooser of the version in the path; it raises `BadRequestError` for too large a number."""
    return lambda state: models.require_model(state, read_target(request))
