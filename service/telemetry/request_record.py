"""Collect what logs, metrics and traces report about a request, whatever its transport."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.core.inference import Inference


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request, from its first byte to its response."""

    method: str | None = None
    """HTTP method, such as `POST`; None where the request could not be parsed."""
    path: str | None = None
    request_id: str | None = None
    headers: Iterable[tuple[bytes, bytes]] = ()
    """Headers of the request; `traceparent` makes the spans part of the client's trace."""
    access_log: bool = False
    """Whether a line is logged for every response, whatever its status."""
    started: float = field(default_factory=time.perf_counter)
    """Start of the request, by `time.perf_counter`."""
    client: str | None = None
    """Name of the API key."""
    route: str | None = None
    """Name in metrics and traces; None leaves the request out of both."""
    inference: Inference | None = None
    """Scores and timings, if there are any."""
    reason: str | None = None
    """Reason of a rejection or failure; see `ServiceError.reason`."""
    error: str | None = None
    """Error message of the response."""

    def fail(self, reason: str, error: str) -> None:
        """Note why the request was rejected or failed."""
        self.reason, self.error = reason, error
