"""One service, shared by the tests that break processes, engines and connections."""

from __future__ import annotations

import itertools
from pathlib import Path

import httpx

from tests.server import Server

from .traffic import Traffic

BODY_TIMEOUT_MS = 2000


class FaultyService:
    """A service of `faulty_app` and the file that tells it what is broken."""

    server: Server

    def __init__(self, folder: Path, store_url: str, body: bytes) -> None:
        self._folder = folder
        self._store_url = store_url
        self._body = body
        self._fault = folder / "fault"
        self._numbers = itertools.count()
        self._running = False

    def ensure_running(self) -> None:
        """Start the service unless it runs."""
        if self._running and self.server.process and self.server.process.poll() is None:
            return
        self.server = Server(
            self._folder / f"server-{next(self._numbers)}",
            target="tests.faults.faulty_app:EdgeService",
            MODEL_STORE_URL=self._store_url,
            ENGINE="openvino",
            FAULT_FILE=str(self._fault),
            ENGINE_TIMEOUT_S="1",
            BODY_TIMEOUT_MS=str(BODY_TIMEOUT_MS),
        )
        self.server.__enter__()
        self._running = True

    def stop(self) -> None:
        """Stop the service if it runs."""
        if self._running:
            self.server.__exit__(None, None, None)

    def inject(self, fault: str) -> None:
        """Break the engine, or with an empty text repair it."""
        self._fault.write_text(fault)

    def traffic(self, clients: int = 8, timeout_ms: int = 20_000) -> Traffic:
        return Traffic(self.server.url, self._body, is_eight, clients=clients, timeout_ms=timeout_ms)

    def restarts(self) -> float:
        """Return how many runners have been replaced."""
        return metric(self.server, "xception_runner_restarts_total")


def is_eight(response: httpx.Response) -> bool:
    """Return whether the first image of a `:predict` response is an eight."""
    scores = response.json()["predictions"][0]
    return max(range(10), key=scores.__getitem__) == 8


def metric(server: Server, name: str) -> float:
    """Return the sum of the samples whose line begins with `name`."""
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))
