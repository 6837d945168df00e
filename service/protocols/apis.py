"""The APIs that are served over HTTP. A new protocol is one package, and one line here."""

from __future__ import annotations

from starlette.routing import Route

from service.http.http_edge import HttpEdge
from service.protocols.admin import Admin
from service.protocols.classify.routes import Classify
from service.protocols.description import HttpApi
from service.protocols.open_inference.routes import OpenInference
from service.protocols.openapi import Documentation
from service.protocols.system import System
from service.protocols.tfserving.routes import TensorFlowServing


def http_apis(edge: HttpEdge) -> tuple[HttpApi, ...]:
    """Return the APIs, in the order of the documentation."""
    return (Classify(edge), TensorFlowServing(edge), OpenInference(edge), Admin(edge), System(edge))


def http_routes(edge: HttpEdge) -> list[Route]:
    """Return the routes of all APIs, and of their documentation."""
    apis = http_apis(edge)
    documentation = Documentation(edge.settings, edge.runner, apis)
    return [route for api in apis for route in api.routes()] + documentation.routes()
