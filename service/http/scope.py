"""Keep the record and the API client of an HTTP request in its ASGI scope."""

from __future__ import annotations

from starlette.types import Scope

from service.auth.api_keys import ApiClient
from service.telemetry.request_record import RequestRecord

_RECORD = "xception.record"
_CLIENT = "xception.client"
"""ASGI's own `client` is the address of the peer."""


def start_record(scope: Scope, request_id: str, *, access_log: bool = False) -> RequestRecord:
    """Create the record of a request and keep it in its scope."""
    record = RequestRecord(
        method=scope["method"],
        path=scope["path"],
        request_id=request_id,
        headers=scope["headers"],
        access_log=access_log,
    )
    scope[_RECORD] = record
    return record


def record_of(scope: Scope) -> RequestRecord:
    """Return the record of a request."""
    record: RequestRecord | None = scope.get(_RECORD)
    return record if record is not None else start_record(scope, "")


def set_client(scope: Scope, client: ApiClient) -> None:
    """Keep the API client of a request."""
    scope[_CLIENT] = client
    record_of(scope).client = client.name


def client_of(scope: Scope) -> ApiClient | None:
    """Return the API client of a request; None where no keys are required."""
    client: ApiClient | None = scope.get(_CLIENT)
    return client
