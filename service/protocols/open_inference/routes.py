"""Route the Open Inference Protocol v2; the other modules here read and write its formats."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import InvalidImageError
from service.edge.admission import Permit
from service.edge.data_plane import VersionChooser
from service.http.endpoints import InferenceEndpoint, JsonEndpoint
from service.http.http_edge import HttpEdge
from service.http.request_body import decompress, require_json
from service.http.responses import InferenceResponse
from service.protocols.description import Describer, Description
from service.protocols.open_inference import models
from service.protocols.open_inference.openapi import describe
from service.protocols.open_inference.request import HEADER_LENGTH, InferRequest, parse_header_length, parse_infer
from service.protocols.open_inference.response import format_infer

PATHS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
"""Paths of the default version, and of one by its number or label."""


class OpenInference:
    """The endpoints of the protocol."""

    def __init__(self, edge: HttpEdge) -> None:
        self._edge = edge

    def routes(self) -> list[Route]:
        """Return the routes of this API."""
        routes = [
            Route("/v2", JsonEndpoint(self.server), methods=["GET"]),
            Route("/v2/health/live", JsonEndpoint(self.live), methods=["GET"]),
            Route("/v2/health/ready", JsonEndpoint(self.ready), methods=["GET"]),
            Route("/v2/repository/index", JsonEndpoint(self.index), methods=["POST"]),
            Route("/v2/repository/models/{model}/load", JsonEndpoint(self.control), methods=["POST"]),
            Route("/v2/repository/models/{model}/unload", JsonEndpoint(self.control), methods=["POST"]),
        ]
        for path in PATHS:
            routes += [
                Route(path, JsonEndpoint(self.model), methods=["GET"]),
                Route(f"{path}/ready", JsonEndpoint(self.model_ready), methods=["GET"]),
                Route(f"{path}/infer", InferenceEndpoint("infer", self.infer), methods=["POST"]),
            ]
        return routes

    def describe(self, describer: Describer) -> Description:
        """Return the description of this API."""
        return describe(describer)

    async def server(self, _: Request) -> Response:
        """Respond with name, version and extensions of the server."""
        return _json(models.format_server())

    async def live(self, _: Request) -> Response:
        """Respond that the process runs."""
        return _json(b'{"live":true}')

    async def ready(self, _: Request) -> Response:
        """Respond whether a checked version is available."""
        (await self._edge.runner.state()).require_ready()
        return _json(b'{"ready":true}')

    async def model(self, request: Request) -> Response:
        """Respond with the inputs and outputs of a version."""
        state = await self._edge.runner.state()
        return _json(models.format_model(state, choose_in_path(request)(state)))

    async def model_ready(self, request: Request) -> Response:
        """Respond whether a version is available."""
        return _json(models.format_ready(choose_in_path(request)(await self._edge.runner.state())))

    async def index(self, request: Request) -> Response:
        """Respond with the state of all versions."""
        with self._edge.admit(request) as permit:
            ready_only = models.parse_index_request(await self._edge.read_body(request, permit))
        return _json(models.format_index(await self._edge.runner.state(), ready_only))

    async def control(self, request: Request) -> Response:
        """Reject a request to load or unload a model."""
        raise models.reject_control(request.path_params["model"], await self._edge.runner.state())

    async def infer(self, request: Request) -> InferenceResponse:
        """Respond with the scores of images or pixels."""
        edge, choose = self._edge, choose_in_path(request)
        with edge.admit(request) as permit:
            require_json(request)
            parsed = await self._read(request, choose, permit)
            permit.override(parsed.timeout_s, parsed.priority)
            try:
                inference = await edge.infer(request, parsed.inputs, choose, permit)
            except InvalidImageError as error:
                raise error.within(parsed.fields) from error
        body, media_type, headers = format_infer(parsed, inference.model, inference.result.scores)
        return InferenceResponse(body, inference, media_type, headers)

    async def _read(self, request: Request, choose: VersionChooser, permit: Permit) -> InferRequest:
        """Return the parsed request; its body is released before anything else is awaited."""
        edge = self._edge
        body = await decompress(request, await edge.read_body(request, permit), permit, edge.max_body_bytes)
        header_length = parse_header_length(request.headers.get(HEADER_LENGTH), len(body))
        model = choose(await edge.runner.state())
        return parse_infer(body, header_length, model, edge.settings.max_instances)


def choose_in_path(request: Request) -> VersionChooser:
    """Return a chooser of the version in the path; it raises `BadRequestError` for too large a number."""
    return lambda state: models.require_model(state, models.parse_target(**request.path_params))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
