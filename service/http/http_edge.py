"""The data plane as HTTP endpoints use it: limits from headers, bodies within their limits, disconnects noticed."""

from __future__ import annotations

from starlette.requests import Request

from service.core.inference import Inference
from service.edge.admission import Permit
from service.edge.data_plane import DataPlane, Images, VersionChooser
from service.edge.runner_client import RunnerClient
from service.http.disconnect import disconnected
from service.http.request_body import read_body
from service.http.request_headers import announced_size, read_deadline, read_priority
from service.http.scope import client_of
from service.settings import MIB, Settings


class HttpEdge:
    """The steps that all HTTP protocols share: admit, read, infer."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.max_body_bytes = plane.settings.max_request_mib * MIB

    @property
    def settings(self) -> Settings:
        """Return the settings of the service."""
        return self.plane.settings

    @property
    def runner(self) -> RunnerClient:
        """Return the connection to the runner."""
        return self.plane.runner

    def admit(self, request: Request) -> Permit:
        """Admit a request by its headers, before its body is read.

        Raises:
            ServiceError: A header is not valid, or the request is over a limit.
        """
        return self.plane.admit(
            read_deadline(request, self.settings.request_timeout_ms),
            read_priority(request),
            announced_size(request, self.max_body_bytes),
            client_of(request.scope),
        )

    async def read_body(self, request: Request, permit: Permit) -> bytes:
        """Read the body of an admitted request, within the limits of size and time.

        Raises:
            ServiceError: It is too large, too slow, or over the memory limit.
            ClientDisconnectedError: The client disconnected before its end.
        """
        return await read_body(request, permit, self.max_body_bytes, self.settings.body_timeout_ms / 1000)

    async def infer(self, request: Request, images: Images, choose: VersionChooser, permit: Permit) -> Inference:
        """Return the scores of the images, as `DataPlane.infer` does; cancelled when the client disconnects."""
        return await self.plane.infer(images, choose, permit, disconnected(request))
