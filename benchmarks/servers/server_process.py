"""A contestant that runs: its start, what it costs, its end."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.measuring import processes

_START_S = 180.0
_STOP_S = 30.0
_LOOK_S = 0.05


class Running:
    """The processes of one contestant, which begin on entering the block and have ended when it is left."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        port: int,
        path: str,
        kinds: Mapping[str, str],
    ) -> None:
        self.url = f"http://127.0.0.1:{port}{path}"
        self._command, self._environment, self._log = command, environment, log
        self._port, self._path, self._kinds = port, path, kinds
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._started = time.perf_counter()
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = self.family()
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self._root).send_signal(signal.SIGINT)
        for process in psutil.wait_procs(family, timeout=_STOP_S)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process:
            self._process.wait()

    def wait_for_answer(self, body: bytes) -> tuple[float, bytes]:
        """Ask until it answers with 200.

        Returns:
            Seconds since the processes were started, and the answer.

        Raises:
            SystemExit: It ended, or did not answer in time; the message has the last lines of its log.
        """
        said = ""
        while time.perf_counter() - self._started < _START_S:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_START_S)
            try:
                connection.request("POST", self._path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    return time.perf_counter() - self._started, text
                said = f" but {answer.status}: {text[:200].decode(errors='replace')}"
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(_LOOK_S)
        last = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(f"{' '.join(self._command)} does not answer{said}; the end of {self._log}:\n{last}")

    def family(self) -> list[psutil.Process]:
        """Return its processes that live."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._root)
            return [root, *root.children(recursive=True)]
        return []

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time that the processes have taken so far, in seconds, by what they do."""
        spent: dict[str, float] = {}
        for process in self.family():
            with suppress(psutil.Error):
                times = process.cpu_times()
                kind = self._kind(process)
                spent[kind] = spent.get(kind, 0.0) + times.user + times.system
        return spent

    def memory_mib(self) -> dict[str, float]:
        """Return the proportional set size of the processes, in MiB, by what they do."""
        sizes: dict[str, float] = {}
        for process in self.family():
            with suppress(psutil.Error):
                kind = self._kind(process)
                sizes[kind] = sizes.get(kind, 0.0) + processes.memory_mib(process)
        return sizes

    @property
    def _root(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _kind(self, process: psutil.Process) -> str:
        words = process.cmdline()
        named = next((kind for word, kind in self._kinds.items() if word in words), None)
        return named or ("main" if process.pid == self._root else "others")
