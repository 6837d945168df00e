"""Start a server on this machine, wait until it is ready, measure its processes, and stop all of them."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil

from benchmarks.measuring import processes
from benchmarks.measuring.processes import free_port

EDGE = "service.app:EdgeService"
"""The whole service: BentoML starts the runner beside the edge."""

ROLES = {"xception_runner": "runner", "xception": "edge"}
"""Roles of the service's processes, by a word of their command lines; BentoML's own process is the supervisor."""

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05
_REPORT_AFTER_S = 10.0
"""From then on stderr says what a server that is not ready lacks."""

T = TypeVar("T")

request = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""As `urllib.request.urlopen`, but never through a proxy."""


class ServerProcess:
    """A server and its child processes: started on entering the block, stopped on leaving it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        port: int,
        *,
        roles: Mapping[str, str] | None = None,
        cores: Collection[int] = (),
    ) -> None:
        """Keep how to start the server.

        Args:
            command: Arguments of Python.
            environment: Variables beside those of this process.
            log: Receives stdout and stderr.
            port: On 127.0.0.1, where the server listens.
            roles: Role of a process, by a word of its command line; the first that fits counts. Without one the first
                process is the supervisor, and its children are others.
            cores: The only ones that the server may use; empty: all that this process may use.
        """
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._command, self._environment = command, environment
        self._roles, self._cores = roles or {}, cores
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        cores = self._cores
        with self.log.open("wb") as log:
            self._started = time.perf_counter()
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        """Wait until the server is ready; without a way to ask for that, do not."""

    def wait_until(self, attempt: Callable[[], T]) -> tuple[float, T]:
        """Repeat an attempt until it raises no OSError.

        Returns:
            Seconds since the process was started, and what the attempt returned.

        Raises:
            SystemExit: The process ended, or the time is over; the message has the last error and the end of the log.
        """
        assert self._process is not None
        reported = ""
        while True:
            try:
                result = attempt()
            except (OSError, http.client.HTTPException) as failure:
                error = _describe(failure)
            else:
                return time.perf_counter() - self._started, result
            waited_s = time.perf_counter() - self._started
            if self._process.poll() is not None or waited_s > _START_TIMEOUT_S:
                last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                raise SystemExit(f"{self._name} did not start: {error}; the end of {self.log}:\n{last}")
            if waited_s > _REPORT_AFTER_S and error != reported:
                print(f"{self._name} is not ready yet: {error}", file=sys.stderr)
                reported = error
            time.sleep(_POLL_S)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the running processes by role."""
        found: dict[str, list[psutil.Process]] = {}
        for process in self._family():
            with suppress(psutil.Error):
                found.setdefault(self._role(process), []).append(process)
        return found

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time of the running processes, in seconds, by role."""
        spent: dict[str, float] = {}
        for role, members in self.processes().items():
            for process in members:
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    spent[role] = spent.get(role, 0.0) + times.user + times.system
        return spent

    def memory_mib(self) -> dict[str, float]:
        """Return the proportional set size of the running processes, in MiB, by role."""
        sizes: dict[str, float] = {}
        for role, members in self.processes().items():
            for process in members:
                with suppress(psutil.Error):
                    sizes[role] = sizes.get(role, 0.0) + processes.memory_mib(process)
        return sizes

    def stop(self) -> None:
        """Interrupt the first process, wait for all of them, and kill those that do not end."""
        if self._process is None:
            return
        family = self._family()
        try:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(self._process.pid).send_signal(signal.SIGINT)
            psutil.wait_procs(family, timeout=_STOP_TIMEOUT_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
            self._process = None

    @property
    def _name(self) -> str:
        return " ".join(self._command[1:]).removeprefix("-m ")

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def _role(self, process: psutil.Process) -> str:
        assert self._process is not None
        words = process.cmdline()
        named = next((role for word, role in self._roles.items() if word in words), None)
        return named or ("supervisor" if process.pid == self._process.pid else "others")


class BentoMLServer(ServerProcess):
    """A `bentoml serve` that is ready when its block begins."""

    def __init__(self, folder: Path, target: str = EDGE, cores: Collection[int] = (), /, **settings: str) -> None:
        """Keep how to start the server.

        Args:
            folder: BentoML's home, with the log; it is made.
            target: The service, as `bentoml serve` expects it.
            cores: The only ones that it may use; empty: all that this process may use.
            settings: Environment variables.
        """
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)],
            {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True", **settings},
            folder / "server.log",
            port,
            roles=ROLES,
            cores=cores,
        )
        model = settings.get("MODEL_NAME", os.environ.get("MODEL_NAME", "xception"))
        self.model_url = f"{self.url}/v1/models/{model}"
        self.predict_url = f"{self.model_url}:predict"

    def _wait(self) -> None:
        self.wait_until(lambda: request(f"{self.url}/readyz", timeout=5).close())


def _describe(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.read()[:200].decode(errors='replace').strip()}"
    return str(error)
