"""The entry: two BentoML services, wired.

`bentoml serve` (or `bentoml serve service.app:EdgeService`) starts the edge, and the runner as a process of its
own beside it. `bentoml serve service.app:RunnerService` starts a runner alone; an edge told `RUNNER_URL` uses it.
"""

from __future__ import annotations

import logging
from typing import Any, cast

import bentoml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp
from uvicorn.config import HTTP_PROTOCOLS

from model_store.errors import StoreError

from .access import AccessMiddleware
from .admin import Admin
from .callers import Callers
from .connection import Connection
from .doorstep import Doorstep
from .edge import Edge
from .middleware import AccessLogMiddleware, JsonErrorMiddleware, RequestIdMiddleware
from .oip.routes import OpenInference
from .runner import Runner
from .settings import load_settings
from .shortcut import ShortcutMiddleware
from .supervision import leave_callers_to_edge, mend_supervisor
from .tfserving.routes import TensorFlowServing
from .wanted import pull_default
from .wire import FrameAddress

log = logging.getLogger("bentoml.model")

SETTINGS = load_settings()

_TIMEOUT_S = SETTINGS.request_timeout_ms / 1000 + 5
"""BentoML's own limit stays behind ours, which answers in the right format."""

_TLS = {"ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20"}
"""Of TLS 1.2; of BentoML's own choice, the suites of TLS 1.0, many clients take none. TLS 1.3 has its own."""

_TRACING = {"excluded_urls": ".*"}
"""No spans unless the configuration of BentoML asks for some: making them costs more than all the rest of a refusal."""

HTTP_PROTOCOLS["auto"] = "service.connection:Connection"
"""What uvicorn speaks; BentoML has no setting for it."""

_runner = Runner(SETTINGS)


def _runner_url() -> str | None:
    """Return where BentoML lets the runner listen that belongs to this process, or that this process is."""
    url: str | None = cast(Any, RunnerService).url
    return url


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
    """Owns the engine, the queue and the versions of the model; one process a device."""

    @bentoml.on_deployment
    @staticmethod
    def pull() -> None:
        """Pull and verify the model once, before any process starts; the runner goes on trying if this fails."""
        mend_supervisor()
        try:
            model = pull_default(SETTINGS)
            log.info("Version %d of %s is verified: %s", model.version, model.model, model.digest)
        except (StoreError, LookupError) as error:
            log.warning("No model yet: %s", error)

    @bentoml.on_startup
    async def start(self) -> None:
        """Begin to load the model."""
        address = FrameAddress.beside(_runner_url() or "", SETTINGS.runner_port)
        if address.path:
            leave_callers_to_edge()
        await _runner.start(address)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what runs, then unload."""
        await _runner.stop()

    async def __is_ready__(self) -> bool:
        return _runner.lifecycle.ready


_edge = Edge(SETTINGS)
_apis = (TensorFlowServing(_edge), OpenInference(_edge), _edge, Admin(_edge))
_callers = Callers(SETTINGS.api_keys_file, SETTINGS.edge_workers) if SETTINGS.api_keys_file else None
# Within the application, so that BentoML still sees which paths are not its own, those of the page's scripts.
_door = [Middleware(AccessMiddleware, callers=_callers)] if _callers else []
_app = Starlette(routes=[route for api in _apis for route in api.routes()], middleware=_door)
_app.router.redirect_slashes = False  # As in `ShortcutMiddleware`.


@bentoml.service(
    name="xception",
    workers=SETTINGS.edge_workers,
    traffic={"timeout": _TIMEOUT_S},
    logging={"access": {"enabled": False}},  # `AccessLogMiddleware` writes it, so that no path can forge a line.
    # Its labels hold the raw path, so that every unknown URL would become a new series; /metrics is our own.
    metrics={"enabled": False},
    ssl=_TLS,
    tracing=_TRACING,
)
@bentoml.asgi_app(_app, path="/")
class EdgeService:
    """Speaks HTTP, admits, decodes and answers."""

    runner = bentoml.depends(RunnerService, url=SETTINGS.runner_url)

    @bentoml.on_startup
    async def start(self) -> None:
        """Connect to the runner."""
        Connection.doorstep = Doorstep(_edge, _app.routes, _callers, SETTINGS.access_log)
        if runner_url := SETTINGS.runner_url or _runner_url():
            await _edge.start(runner_url, SETTINGS.runner_port)
        else:
            raise SystemExit("RUNNER_URL is not set, and no runner was started beside the edge")

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Admit nobody any more and disconnect."""
        await _edge.stop()


def _shortcut() -> ASGIApp:
    """Return the routes that pass by BentoML's middlewares, and Starlette's, with what stands around them."""
    app: ASGIApp = AccessMiddleware(_app.router, _callers) if _callers else _app.router
    app = JsonErrorMiddleware(app)
    if SETTINGS.access_log:
        app = AccessLogMiddleware(app)
    return RequestIdMiddleware(app)


_add_middleware = cast(Any, EdgeService).add_asgi_middleware
_add_middleware(RequestIdMiddleware)
if SETTINGS.access_log:
    _add_middleware(AccessLogMiddleware)
_add_middleware(JsonErrorMiddleware)
_add_middleware(ShortcutMiddleware, shortcut=_shortcut(), prefixes=("/v1", "/v2", "/classify", "/readyz"))
