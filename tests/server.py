"""Run a real `bentoml serve` in tests."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import httpx
import psutil

ROOT = Path(__file__).parent.parent

START_TIMEOUT_S = 120.0
"""Generous, because importing TensorFlow takes several seconds, and CI machines are slow."""


_PORTS = range(10_000, 32_000)
"""Below the ephemeral ports, which outgoing connections may occupy before the server listens."""

_offsets = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


def free_port() -> int:
    """Return a free TCP port; each worker uses its own ports."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    for offset in itertools.islice(_offsets, len(own)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", own[offset % len(own)]))
            return int(probe.getsockname()[1])
    raise AssertionError("no port is free")


class Server:
    """One service with its own port and BentoML home."""

    def __init__(
        self,
        folder: Path,
        target: str = ".",
        cwd: Path = ROOT,
        certificate: tuple[Path, Path] | None = None,
        **settings: str,
    ) -> None:
        """Prepare a service without starting it.

        Args:
            folder: For log, cache and BentoML home.
            target: The argument of `bentoml serve`.
            cwd: The working directory.
            certificate: Certificate and key, to serve https only.
            settings: Environment variables.
        """
        self.port = free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.log_file = folder / "server.log"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        self._cwd = cwd
        self._command = [sys.executable, "-m", "bentoml", "serve", target]
        self._command += ["--host", "127.0.0.1", "--port", str(self.port)]
        if certificate:
            self._command += ["--ssl-certfile", str(certificate[0]), "--ssl-keyfile", str(certificate[1])]
        self._environment = {
            **os.environ,
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(folder / "bentoml"),
            "MODEL_CACHE_DIR": str(folder / "cache"),
            "PRECISION": "fp32",  # Scores are compared with Keras'; `auto` depends on the machine.
            "WARMUP_BUDGET_S": "0.2",  # No test depends on the batch size that is learned at the start.
            **settings,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bentoml").mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the process without waiting for it."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def wait_for(self, path: str, status: int = 200) -> httpx.Response:
        """Wait until `path` responds with `status`."""
        assert self.process is not None
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            assert self.process.poll() is None, f"the server ended:\n{self.log}"
            try:
                response = self.client.get(path)
                if response.status_code == status:
                    return response
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{path} did not respond with {status} in time:\n{self.log}")

    @property
    def log(self) -> str:
        """Return the output of all processes so far."""
        return self.log_file.read_text()

    def runner(self) -> psutil.Process:
        """Return the process of the runner."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if "xception_runner" in child.cmdline():
                return child
        raise AssertionError("no runner runs")

    def edge(self) -> psutil.Process:
        """Return the process of the edge."""
        assert self.process is not None
        runner = self.runner()
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if child != runner and "--service-name" in child.cmdline())

    def stop(self) -> int:
        """Send SIGINT and return the exit status; check that no process is left."""
        assert self.process is not None
        family = self._family()
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(timeout=30)
            assert not psutil.wait_procs(family, timeout=5)[1], f"processes were left behind:\n{self.log}"
            return status
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not stop:\n{self.log}") from None
        finally:
            _kill(family)
            self.client.close()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_for("/readyz")
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def kill(self) -> None:
        """Kill all processes."""
        if self.process is not None and self.process.poll() is None:
            _kill(self._family())
            self.process.wait()

    def _family(self) -> list[psutil.Process]:
        """Return the main process and its children, each of which leads its own process group."""
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


class Demo(Protocol):
    """Creates services with settings."""

    def __call__(self, certificate: tuple[Path, Path] | None = None, **settings: str) -> Server: ...


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
