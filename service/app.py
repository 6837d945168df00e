"""The entry point: two BentoML services and their wiring.

`bentoml serve` (or `bentoml serve service.app:EdgeService`) starts the edge, and the runner as a process of its
own beside it. `bentoml serve service.app:RunnerService` starts a runner alone; an edge with `RUNNER_URL` uses it.
"""

from __future__ import annotations

import logging
from typing import Any, cast

import bentoml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from model_store.errors import StoreError
from service.auth.api_keys import ApiKeyStore
from service.edge.data_plane import DataPlane
from service.http.api_key_middleware import ApiKeyMiddleware
from service.http.http_edge import HttpEdge
from service.http.middleware import JsonErrorMiddleware, RequestMiddleware
from service.ipc.messages import FrameAddress
from service.lifecycle.desired_state import pull_default
from service.protocols.apis import http_routes
from service.runner.app import Runner
from service.server.bentoml_internals import (
    component_name,
    remove_trace_filter,
    service_url,
    tracer_provider,
    use_http_protocol,
)
from service.server.bypass import MiddlewareBypass
from service.server.listener import raise_open_file_limit, tune_listener
from service.server.supervisor import close_inherited_listeners, end_with_supervisor, patch_supervisor
from service.settings import load_settings
from service.telemetry import log_format, tracing

log = logging.getLogger("bentoml.model")

SETTINGS = load_settings()

_TIMEOUT_S = SETTINGS.request_timeout_ms / 1000 + 5
"""BentoML's own timeout, later than ours, which responds in the right format."""

_TLS = {"ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20"}
"""For TLS 1.2; many clients support none of BentoML's default suites, those of TLS 1.0. TLS 1.3 has its own."""

_TRACING = {"excluded_urls": ".*"}
"""No spans of BentoML's own: they would cost more than everything else in a rejected request."""

use_http_protocol("service.server.protocol:HttpProtocol")

_runner = Runner(SETTINGS)


@bentoml.service(
    name="xception_runner",
    workers=1,
    traffic={"timeout": _TIMEOUT_S},
    # The client behind `depends` would otherwise reopen its session every 100 calls and cut off those in flight.
    runner_connection={"max_requests": 2**31, "max_age": 1e9},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing=_TRACING,
)
@bentoml.asgi_app(_runner.app(), path="/")
class RunnerService:
    """Owns the engine, the queue and the versions of the model; one process for each device."""

    @bentoml.on_deployment
    @staticmethod
    def pull() -> None:
        """Pull and verify the model once, before any process starts; the runner retries if this fails."""
        patch_supervisor()
        try:
            model = pull_default(SETTINGS)
            log.info("Version %d of %s is verified: %s", model.version, model.model, model.digest)
        except (StoreError, LookupError) as error:
            log.warning("No model yet: %s", error)

    @bentoml.on_startup
    async def start(self) -> None:
        """Start to load the model."""
        end_with_supervisor()
        log_format.configure(SETTINGS.log_format, "runner", component_name(), remove_trace_filter)
        address = FrameAddress.beside(service_url(RunnerService) or "", SETTINGS.runner_port)
        if address.path:
            close_inherited_listeners()
        await _runner.start(address)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish the requests in flight, then unload."""
        await _runner.stop()

    async def __is_ready__(self) -> bool:
        return _runner.lifecycle.ready


_plane = DataPlane(SETTINGS)
_http = HttpEdge(_plane)
_keys = ApiKeyStore(SETTINGS.api_keys_file, SETTINGS.edge_workers) if SETTINGS.api_keys_file else None
# Within the application, so that BentoML still serves its own paths, such as the scripts of the page.
_key_middleware = [Middleware(ApiKeyMiddleware, keys=_keys)] if _keys else []
_app = Starlette(routes=http_routes(_http), middleware=_key_middleware)
_app.router.redirect_slashes = False  # As in `wrap_application`.


@bentoml.service(
    name="xception",
    workers=SETTINGS.edge_workers,
    traffic={"timeout": _TIMEOUT_S},
    logging={"access": {"enabled": False}},  # `RequestMiddleware` does, and no path can forge a line there.
    # Labelled with the raw path: every unknown URL would become a new series. /metrics is our own.
    metrics={"enabled": False},
    ssl=_TLS,
    tracing=_TRACING,
)
@bentoml.asgi_app(_app, path="/")
class EdgeService:
    """Serves HTTP: admits requests, decodes images, and responds."""

    runner = bentoml.depends(RunnerService, url=SETTINGS.runner_url)

    @bentoml.on_startup
    async def start(self) -> None:
        """Connect to the runner."""
        runner_url = SETTINGS.runner_url or service_url(RunnerService)
        if not runner_url:
            raise SystemExit("RUNNER_URL is not set, and no runner was started beside the edge")
        end_with_supervisor()
        log_format.configure(SETTINGS.log_format, "edge", component_name(), remove_trace_filter)
        tracing.start(tracer_provider())
        raise_open_file_limit()
        tune_listener(SETTINGS.edge_workers)
        await _plane.start(runner_url, SETTINGS.runner_port)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Stop admitting requests, and disconnect."""
        await _plane.stop()
        await tracing.stop()


def _bypass() -> ASGIApp:
    """Return the routes that bypass BentoML's middleware, and Starlette's, with what stands around them."""
    app: ASGIApp = ApiKeyMiddleware(_app.router, _keys) if _keys else _app.router
    return RequestMiddleware(JsonErrorMiddleware(app), access_log=SETTINGS.access_log)


_add_middleware = cast(Any, EdgeService).add_asgi_middleware
_add_middleware(RequestMiddleware, access_log=SETTINGS.access_log)
_add_middleware(JsonErrorMiddleware)
_add_middleware(MiddlewareBypass, bypass=_bypass(), prefixes=("/v1", "/v2", "/classify", "/readyz"))
