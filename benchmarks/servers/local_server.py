"""A `bentoml serve` on this machine, for the scripts that compare, swap and break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.measuring import processes

EDGE = "service.app:EdgeService"
"""The whole service: BentoML starts the runner beside the edge."""

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 30.0

_PATIENCE_S = 10.0
"""Whoever waits for longer is told what for."""


class LocalServer:
    """One service, on a port and in a BentoML home of its own; its log lies in `folder`."""

    def __init__(
        self,
        folder: Path,
        target: str = EDGE,
        cores: Collection[int] = (),
        /,
        **settings: str,
    ) -> None:
        """Start it, and wait until it is ready.

        Args:
            folder: Is made, and keeps the log.
            target: What `bentoml serve` is told.
            cores: The only ones that it may use; none named, all that this process has.
            settings: Its environment variables.

        Raises:
            SystemExit: It did not start.
        """
        port = processes.free_port()
        self.url = f"http://127.0.0.1:{port}"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "server.log"
        environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True", **settings}
        command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(port)],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            )
        try:
            self._wait(target)
        except BaseException:
            self.stop()
            raise

    def _wait(self, target: str) -> None:
        began, told = time.monotonic(), ""
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=5).close()
                return
            except OSError as error:
                said = error.read().decode().strip() if isinstance(error, urllib.error.HTTPError) else str(error)
                waited_s = time.monotonic() - began
                if self.process.poll() is not None or waited_s > _START_TIMEOUT_S:
                    last = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
                    raise SystemExit(f"{target} did not start: {said}\n{last}") from None
                if waited_s > _PATIENCE_S and said != told:
                    print(f"{target} is not ready yet: {said}", file=sys.stderr)
                    told = said
                time.sleep(0.05)

    @property
    def model_url(self) -> str:
        """Return the URL of the model."""
        return f"{self.url}/v1/models/{os.environ.get('MODEL_NAME', 'xception')}"

    @property
    def predict(self) -> str:
        """Return the URL to post to."""
        return f"{self.model_url}:predict"

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by what they do: `supervisor`, `edge`, `runner`; what ends meanwhile is missing."""
        supervisor = psutil.Process(self.process.pid)
        found: dict[str, list[psutil.Process]] = {"supervisor": [supervisor], "edge": [], "runner": []}
        for process in supervisor.children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                if "xception_runner" in words:
                    found["runner"].append(process)
                elif "xception" in words:
                    found["edge"].append(process)
        return found

    def memory_mib(self) -> dict[str, float]:
        """Return the proportional set size of the processes that answer, in MiB, by what they do."""
        found = self.processes()
        return {role: sum(map(processes.memory_mib, found[role])) for role in ("edge", "runner")}

    def stop(self) -> None:
        """Stop the processes, if they still run; those that do not stop are killed."""
        if self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
