"""The doorstep: in a storm, who is refused for want of room or time is refused before anything is made for them.

Most requests of a storm are refused, and the ordinary way to that, by a task, middlewares, routes and two messages to
the server, costs as much as all the rest of it: time that those who were admitted want. So the bounds are asked here
first, by the same `Edge.admit`; answer, log line, counts and span are the same, too. Whatever else there is to say of
a request is said on the ordinary way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from .answer import error_answer
from .callers import Callers
from .edge import Edge
from .endpoints import Timed
from .errors import OverloadedError, ServiceError
from .middleware import HEADER, log_answer, take_request_id

_STORM_S = 1.0
"""For so long after a refusal requests are looked at here; in calm weather that would be one look too many."""


class Doorstep:
    """Looks at requests for what the edge's bounds hold back."""

    def __init__(self, edge: Edge, routes: Sequence[BaseRoute], callers: Callers | None, access_log: bool) -> None:
        """Keep what is needed.

        Args:
            edge: Whose bounds count.
            routes: Of them those that are `Timed` are admitted to.
            callers: Who may pass, where keys are asked for.
            access_log: Whether each answer has a line.
        """
        self._edge = edge
        self._callers = callers
        self._access_log = access_log
        self._routes = [
            (route.path_regex, route.endpoint)
            for route in routes
            if isinstance(route, Route) and isinstance(route.endpoint, Timed)
        ]

    def refuse(self, scope: Scope) -> Response | None:
        """Return the refusal of a request whose head is there; None where it is to go the ordinary way."""
        if time.monotonic() - self._edge.admission.refused_at > _STORM_S or scope["method"] != "POST":
            return None
        timed = next((timed for path, timed in self._routes if path.match(scope["path"])), None)
        if timed is None:
            return None
        started = time.perf_counter()
        request = Request(scope)
        try:
            if self._callers:
                scope["caller"] = self._callers.identify(request.headers.get("authorization", ""))
            self._edge.admit(request)
        except OverloadedError as error:
            request_id = take_request_id(scope)
            response = error_answer(error, scope)
            response.raw_headers.append((HEADER, request_id))
            timed.tell(scope, response.status_code, started)
            if self._access_log:
                log_answer(scope, response.status_code, started)
            return response
        except ServiceError:
            return None
        return None
