"""The undocumented names of BentoML are still there, and still do what the service needs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from _bentoml_impl.worker import service as worker
from _bentoml_sdk.service.factory import Service
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.log import TraceRecordFilter
from starlette.applications import Starlette
from uvicorn.config import HTTP_PROTOCOLS, Config

from service.server.bentoml_internals import (
    component_name,
    remove_trace_filter,
    service_url,
    tracer_provider,
    use_http_protocol,
    wrap_application,
)
from service.server.protocol import HttpProtocol


def test_the_release_is_one_that_was_looked_at() -> None:
    """Another one: read `bentoml_internals.py` and `supervisor.py` beside its source, then change this."""
    assert version("bentoml") == "1.4.39"


def test_a_process_has_a_name_in_log_lines() -> None:
    assert isinstance(component_name(), str)


def test_only_the_trace_filter_is_removed() -> None:
    handler = logging.StreamHandler()
    kept = logging.Filter()
    handler.addFilter(TraceRecordFilter())
    handler.addFilter(kept)
    remove_trace_filter(handler)
    assert handler.filters == [kept]


def test_there_is_no_tracer_without_an_exporter() -> None:
    assert tracer_provider() is None
    assert hasattr(BentoMLContainer, "tracer_provider")


def test_a_service_knows_where_its_runner_listens() -> None:
    assert isinstance(inspect.getattr_static(Service, "url"), property)

    class Named:
        url = "file:///a.sock"

    assert service_url(Named()) == "file:///a.sock"


@pytest.fixture
def protocols() -> Iterator[None]:
    before = dict(HTTP_PROTOCOLS)
    yield
    HTTP_PROTOCOLS.update(before)


@pytest.mark.usefixtures("protocols")
def test_the_servers_of_bentoml_use_the_protocol() -> None:
    """It passes no `http`, so that the default is used."""
    use_http_protocol("service.server.protocol:HttpProtocol")
    assert inspect.getsource(worker).count("uvicorn.Config(") == 1
    assert "http=" not in inspect.getsource(worker)
    config = Config(Starlette(), log_config=None)
    config.load()
    assert config.http_protocol_class is HttpProtocol


def test_the_middleware_stack_can_be_wrapped() -> None:
    app = Starlette()
    assert {"middleware_stack", "router"} <= vars(app).keys()
    inner = app.build_middleware_stack()
    app.middleware_stack = inner
    seen: list[object] = []
    wrap_application({"app": app}, lambda wrapped: seen.append(wrapped) or app)
    assert seen == [inner]
    assert app.middleware_stack is app
    assert not app.router.redirect_slashes
    assert "self.middleware_stack" in inspect.getsource(Starlette.__call__)
