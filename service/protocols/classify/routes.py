"""`POST /classify`, which reads as the path of a request: admit → read → infer → rank → respond."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from service.core.errors import BadRequestError
from service.core.ranking import rank
from service.core.serving_state import ModelInfo, ModelSpec, RunnerState
from service.edge.data_plane import VersionChooser
from service.http.endpoints import InferenceEndpoint
from service.http.http_edge import HttpEdge
from service.http.request_body import extract_image
from service.http.request_headers import parse_decimal
from service.http.responses import InferenceResponse
from service.protocols.classify.openapi import describe
from service.protocols.classify.schema import Classification, ClassScore
from service.protocols.description import Describer, Description

_QUERY_PARAMETERS = {"top_k", "version", "label"}


class Classify:
    """The endpoint."""

    def __init__(self, edge: HttpEdge) -> None:
        self._edge = edge

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/classify", InferenceEndpoint("classify", self.classify), methods=["POST"])]

    def describe(self, describer: Describer) -> Description:
        """Return the description of this API."""
        return describe(describer)

    async def classify(self, request: Request) -> InferenceResponse:
        """Respond with the best classes of an image, and their names."""
        edge = self._edge
        with edge.admit(request) as permit:
            body = await edge.read_body(request, permit)
            image = await extract_image(request, body)
            del body  # A form would otherwise hold its image twice while it waits.
            choose = choose_version(request)
            model = choose(await edge.runner.state())
            top_k = read_top_k(request, edge.settings.top_k, len(model.classes))
            inference = await edge.infer(request, [image], choose, permit)
        best = [
            ClassScore(name=ranked.name, index=ranked.index, score=ranked.score)
            for ranked in rank(inference.result.scores[0], inference.model.classes, top_k)
        ]
        body_model = Classification(model=inference.model.name, version=inference.model.version, predictions=best)
        return InferenceResponse(body_model.model_dump_json().encode(), inference)


def choose_version(request: Request) -> VersionChooser:
    """Return a chooser of the version in `?version=` or `?label=`, or of the default one.

    Raises:
        BadRequestError: Both are given, the version is not a number, or there are other parameters.
    """
    if unknown := sorted(set(request.query_params) - _QUERY_PARAMETERS):
        known = ", ".join(sorted(_QUERY_PARAMETERS))
        raise BadRequestError(f"{unknown[0][:99]}: no such query parameter; there are {known}")
    version, label = request.query_params.get("version"), request.query_params.get("label")
    if version is not None and label is not None:
        raise BadRequestError("version, label: give one of them, not both")
    number = parse_decimal(version) if version is not None else None
    if version is not None and number is None:
        raise BadRequestError(f"version: {version[:99]!r} is not a number")

    def choose(state: RunnerState) -> ModelInfo:
        what = f"version {version}" if version is not None else f"label {label!r}"
        versions = ", ".join(str(number) for number in sorted(model.version for model in state.served))
        available = f"versions: {versions}; labels: {', '.join(sorted(state.labels)) or 'none'}"
        return state.require(ModelSpec(state.name, number, label), f"{what} is not served; {available}")

    return choose


def read_top_k(request: Request, default: int, classes: int) -> int:
    """Return how many classes to name.

    Raises:
        BadRequestError: `top_k` is not a whole number from 1 to the number of classes.
    """
    text = request.query_params.get("top_k", str(min(default, classes)))
    number = parse_decimal(text)
    if number is None or not 1 <= number <= classes:
        raise BadRequestError(f"top_k: {text[:99]!r} is not a whole number from 1 to {classes}")
    return number
