"""A real Prometheus and Alertmanager for tests, and a webhook receiver of alerts.

All servers use loopback and free ports, and end with the process that started them.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from tests.server import free_port

PACKAGES = ("prometheus", "prometheus-alertmanager")

COMMANDS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
"""Debian's names; elsewhere `prometheus-alertmanager` is called `alertmanager`."""

_START_TIMEOUT_S = 60.0

_PR_SET_PDEATHSIG = 1


class PrometheusError(Exception):
    """A server did not start."""


class _Daemon:
    """A process with an HTTP server. Use it as a context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return the command line."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, preexec_fn=_end_with_parent)
        until = time.monotonic() + _START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self._end()
                raise PrometheusError(f"{self.command()[0]} did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _end(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()
        self.client.close()


class Prometheus(_Daemon):
    """A Prometheus server."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        super().__init__(folder, "prometheus")
        self._config = folder / "prometheus.yaml"
        self._config.write_text(yaml.safe_dump(config))

    def command(self) -> Sequence[str]:
        return (
            "prometheus",
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current result of a query: samples with labels in `metric`, time and number in `value`."""
        return self._get("query", {"query": expression})["result"]  # type: ignore[no-any-return]

    def label_values(self, label: str, selector: str) -> list[str]:
        """Return the values of a label in the series of a selector."""
        return self._get(f"label/{label}/values", {"match[]": selector})  # type: ignore[no-any-return]

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        response = self.client.get(f"/api/v1/{path}", params=parameters)
        assert response.status_code == 200, f"{parameters}: {response.text}"
        return response.json()["data"]


class Alertmanager(_Daemon):
    """An Alertmanager that sends firing and resolved alerts to a webhook at once."""

    def __init__(self, folder: Path, webhook: str) -> None:
        super().__init__(folder, "alertmanager")
        self._config = folder / "alertmanager.yaml"
        self._config.write_text(
            yaml.safe_dump(
                {
                    "route": {
                        "receiver": "test",
                        "group_by": ["..."],
                        "group_wait": "0s",
                        "group_interval": "1s",
                        "repeat_interval": "1h",
                    },
                    "receivers": [{"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
                }
            )
        )

    def command(self) -> Sequence[str]:
        return (
            "prometheus-alertmanager",
            f"--config.file={self._config}",
            f"--storage.path={self._folder / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        )


class Receiver:
    """A webhook that records alerts. Use it as a context manager."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        """All notifications in order, with `status`, `labels` and `annotations`."""
        alerts = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                alerts.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def received(self, name: str, status: str) -> list[dict[str, Any]]:
        """Return the notifications of an alert with a status, `firing` or `resolved`."""
        return [one for one in list(self.alerts) if one["labels"]["alertname"] == name and one["status"] == status]


def _end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
