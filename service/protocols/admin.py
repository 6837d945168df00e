"""What an operator may ask of the service: closed unless `ADMIN_TOKEN` is set, and then to whoever holds it."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import AccessDeniedError, ModelNotFoundError
from service.core.serving_state import ModelSpec
from service.http.endpoints import JsonEndpoint
from service.http.http_edge import HttpEdge
from service.http.request_headers import read_deadline
from service.protocols.tfserving.models import format_status
from service.protocols.tfserving.routes import MODEL_PATH


class Admin:
    """The administrative endpoints, before one edge."""

    def __init__(self, edge: HttpEdge) -> None:
        self._edge = edge

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(f"{MODEL_PATH}/reload", JsonEndpoint(self.reload), methods=["POST"]),
            Route("/debug/batching", JsonEndpoint(self.batching), methods=["GET"]),
        ]

    async def batching(self, request: Request) -> Response:
        """Answer how full the queue is, and what was learned of the costs of batches and of their best size.

        Raises:
            AccessDeniedError: The token is missing or wrong, or the service has none.
            NotReadyError: The runner does not answer.
        """
        require_token(request, self._edge.settings.admin_token)
        state = await self._edge.runner.batching()
        return Response(state.model_dump_json(indent=2), media_type="application/json")

    async def reload(self, request: Request) -> Response:
        """Have the labels looked at now; answer with the status once what they say is inference.

        Raises:
            AccessDeniedError: The token is missing or wrong, or the service has none.
            ModelNotFoundError: There is no such model.
            ReloadFailedError: A version that a label points to cannot be served; what served before still does.
            NotReadyError: The runner, or the store, does not answer.
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
    """Refuse a request without the operator's token, in a time that does not depend on how much of it is right.

    Raises:
        AccessDeniedError: The token is missing or wrong, or the service has none.
    """
    if token is None:
        raise AccessDeniedError("administrative routes are closed; set ADMIN_TOKEN to open them to its holder")
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise AccessDeniedError("send the token of ADMIN_TOKEN as 'Authorization: Bearer …'")
