"""The only place that uses names of BentoML which it does not document, and of uvicorn and Starlette as it runs them.

`tests/service/server/test_bentoml_internals.py` fails when a release moves one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.log import TraceRecordFilter, _component_name
from starlette.types import ASGIApp, Scope
from uvicorn.config import HTTP_PROTOCOLS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def component_name() -> str:
    """Return BentoML's name of this process in log lines."""
    name: str = _component_name()
    return name


def remove_trace_filter(handler: logging.Handler) -> None:
    """Remove the filter that looks up the current span for each log line; no line of this service shows it."""
    handler.filters = [one for one in handler.filters if not isinstance(one, TraceRecordFilter)]


def tracer_provider() -> TracerProvider | None:
    """Return the provider of BentoML's configuration, or None where that names no exporter."""
    tracing = BentoMLContainer.tracing
    if not (tracing.exporter_type.get() and tracing.sample_rate.get()):
        return None
    provider: TracerProvider = BentoMLContainer.tracer_provider.get()
    return provider


def service_url(service: Any) -> str | None:
    """Return where BentoML has a service listen, such as `file:///a.sock`; None where this process does not know it."""
    url: str | None = service.url
    return url


def use_http_protocol(path: str) -> None:
    """Have the servers that BentoML starts from now on use a protocol class, given as `module:Class`."""
    HTTP_PROTOCOLS["auto"] = path


def wrap_application(scope: Scope, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Wrap the application with all its middleware, from within its lifespan; it redirects no slashes any more."""
    app = scope["app"]
    app.router.redirect_slashes = False  # It would redirect to the host that the client names.
    app.middleware_stack = wrap(app.middleware_stack)
