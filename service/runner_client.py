"""The edge's way to the runner: scores for pixels, and what the runner serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import numpy as np
import orjson
from numpy.typing import NDArray

from . import wire
from .admission import Permit
from .entry import Result
from .errors import ModelNotFoundError, NotReadyError, ServiceError
from .state import RunnerState, ServedModel

_KEEPALIVE_S = 2.0
"""Shorter than the 5 s after which the runner's server closes an idle connection: never write into a closing one."""

_DESCRIBE_TIMEOUT_S = 5.0

_GRACE_S = 1.0
"""How much longer than the deadline the edge waits for the runner to say so itself."""


class RunnerClient:
    """Connections to one runner, kept open."""

    def __init__(self) -> None:
        self._base = ""
        self._session: aiohttp.ClientSession | None = None
        self._state: RunnerState | None = None

    async def start(self, url: str) -> None:
        """Open the session; connections follow when they are needed.

        Args:
            url: `file:///path/of/a.sock` for a Unix socket, as BentoML names it, or `http://host:port`.
        """
        parts = urlsplit(url)
        if parts.scheme in ("file", "unix"):
            self._base = "http://runner"
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(
                unquote(parts.path), limit=0, keepalive_timeout=_KEEPALIVE_S
            )
        else:
            self._base = url.rstrip("/")
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)

    async def stop(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def state(self) -> RunnerState:
        """Ask the runner what it serves.

        Raises:
            NotReadyError: It does not answer.
        """
        _, body = await self._call("GET", wire.MODELS_PATH, timeout_s=_DESCRIBE_TIMEOUT_S)
        self._state = RunnerState.model_validate_json(body)
        return self._state

    async def model(self) -> ServedModel:
        """Return the version to serve; asks the runner only when it is not known yet.

        Raises:
            NotReadyError: There is none yet; the message says what is waited for.
        """
        state = self._state
        if state is None or state.default is None:
            state = await self.state()
        if state.default is None:
            raise NotReadyError(f"no model is available yet: {state.waiting_for}")
        return state.default

    async def submit(self, pixels: NDArray[np.uint8], model: ServedModel, permit: Permit) -> Result:
        """Get the scores of the images of a request that was admitted.

        Raises:
            ServiceError: Whatever the runner met, as the class that it was there.
            NotReadyError: The runner does not answer; it may be starting again.
        """
        permit.deadline.check()
        question = wire.InferRequest(pixels, model.version, permit.deadline, permit.priority)
        try:
            headers, body = await self._call(
                "POST",
                wire.INFER_PATH,
                timeout_s=permit.deadline.remaining_s() + _GRACE_S,
                headers=question.headers(),
                data=pixels.tobytes(),
            )
        except (ModelNotFoundError, NotReadyError):
            self._state = None  # The runner is away, or serves something else now: ask before the next one.
            raise
        return wire.read_result(headers, body)

    async def _call(
        self, method: str, path: str, *, timeout_s: float, **arguments: Any
    ) -> tuple[Mapping[str, str], bytes]:
        if self._session is None:
            raise NotReadyError("the edge is not started")
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.request(method, self._base + path, timeout=timeout, **arguments) as answer:
                body = await answer.read()
                if answer.status == 200:
                    return answer.headers, body
                try:
                    raise wire.read_error(body)
                except (orjson.JSONDecodeError, KeyError):
                    raise ServiceError(f"the runner answered {answer.status}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReadyError(
                f"the runner does not answer ({type(error).__name__}); it may be starting again"
            ) from error
