"""Administrative endpoints; they need the token of `ADMIN_TOKEN`, and are closed where it is not set."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import AccessDeniedError, ModelNotFoundError
from service.core.serving_state import BatchingState, ModelSpec
from service.http.endpoints import JsonEndpoint
from service.http.http_edge import HttpEdge
from service.http.request_headers import read_deadline
from service.protocols.description import Describer, Description, json_content
from service.protocols.tfserving.models import format_status
from service.protocols.tfserving.routes import MODEL_PATH
from service.protocols.tfserving.schema import ModelStatus


class Admin:
    """Reload of the labels, and the state of the batcher."""

    def __init__(self, edge: HttpEdge) -> None:
        self._edge = edge

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(f"{MODEL_PATH}/reload", JsonEndpoint(self.reload), methods=["POST"]),
            Route("/debug/batching", JsonEndpoint(self.batching), methods=["GET"]),
        ]

    def describe(self, describer: Describer) -> Description:
        """Return the description of the administrative endpoints."""
        reload = describer.operation(
            "reloadModel",
            "Read the labels in the store now; responds when their versions are available",
            json_content(ModelStatus),
            *("400", "404", "409", "503", "504"),
            access="adminToken",
            parameters=[describer.model(), *describer.request_headers()],
        )
        batching = describer.operation(
            "batchingState",
            "State of the batcher, with the learned batch sizes and costs",
            json_content(BatchingState),
            "503",
            access="adminToken",
        )
        return Description(
            "Administration",
            "Closed unless `ADMIN_TOKEN` is set.",
            {"/v1/models/{model}/reload": {"post": reload}, "/debug/batching": {"get": batching}},
            responses=[ModelStatus, BatchingState],
        )

    async def batching(self, request: Request) -> Response:
        """Respond with the state of the batcher, and the batch sizes and costs that it has learned.

        Raises:
            AccessDeniedError: The token is missing or wrong, or the service has none.
            NotReadyError: The runner does not respond.
        """
        require_token(request, self._edge.settings.admin_token)
        state = await self._edge.runner.batching()
        return Response(state.model_dump_json(indent=2), media_type="application/json")

    async def reload(self, request: Request) -> Response:
        """Read the labels in the store now; respond with the status once their versions are available.

        Raises:
            AccessDeniedError: The token is missing or wrong, or the service has none.
            ModelNotFoundError: There is no such model.
            ReloadFailedError: A version that a label points to cannot be served; the previous one still is.
            NotReadyError: The runner, or the store, does not respond.
            DeadlineExceededError: It is not done within the request's deadline, and goes on.
        """
        require_token(request, self._edge.settings.admin_token)
        name = request.path_params["model"]
        if name != self._edge.settings.model_name:
            raise ModelNotFoundError(f"Could not find any versions of model {name}")
        deadline = read_deadline(request, self._edge.settings.request_timeout_ms)
        state = await self._edge.runner.reload(deadline.remaining_s())
        return Response(format_status(state, ModelSpec(name)), media_type="application/json")


def require_token(request: Request, token: str | None) -> None:
    """Reject a request without the administrator's token, in a time that does not depend on how much of it is right.

    Raises:
        AccessDeniedError: The token is missing or wrong, or the service has none.
    """
    if token is None:
        raise AccessDeniedError("administrative routes are closed; set ADMIN_TOKEN to open them to its holder")
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise AccessDeniedError("send the token of ADMIN_TOKEN as 'Authorization: Bearer …'")
