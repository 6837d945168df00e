"""Podman for tests, and containers of the service with the limits of a pod."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from tests.server import ROOT, free_port

SCRIPTS = ROOT / "scripts"

Found = TypeVar("Found")

MEMORY_MIB = 1024
TENSORFLOW_MEMORY_MIB = 4096
"""The limits that docs/benchmarks/containers.md gives for the digits model."""

BOUNDS = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")

START_TIMEOUT_S = 120.0

CACHE = "/var/cache/xception"

PEAK_FILES = ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")
"""The files with the peak memory of a container, with cgroups v2 and v1."""


class Podman:
    """The podman command, with the settings of scripts/container_podman.sh."""

    def __init__(self) -> None:
        self.run("info")
        settings = ROOT / ".local" / "containers.conf"
        self.environment = {**os.environ}
        """Environment for other programs that call podman."""
        if "CONTAINERS_CONF" not in os.environ and settings.exists():
            self.environment["CONTAINERS_CONF"] = str(settings)

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a podman command; it must succeed unless `check` is False."""
        command = [str(SCRIPTS / "container_podman.sh"), *words]
        # If a container runs out of memory, podman writes a file to its working directory.
        cwd = tempfile.gettempdir()
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)
        assert not check or done.returncode == 0, f"podman {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done

    def inspect(self, image: str) -> dict[str, Any]:
        """Return the output of `podman image inspect`."""
        [document] = json.loads(self.run("image", "inspect", image).stdout)
        return dict(document)

    def within(self, image: str, *command: str) -> str:
        """Return the output of a command in a new container without network."""
        return self.run("run", "--rm", "--network", "none", *BOUNDS, image, *command).stdout


def missing() -> list[str]:
    """Return the commands that are not installed."""
    return [command for command in ("podman", "buildah", "runc") if not shutil.which(command)]


class Container:
    """One container of the service on a port of this machine. `start` starts it.

    `serve` is the argument of `bentoml serve`; None runs the default command of the image.
    """

    def __init__(
        self,
        podman: Podman,
        image: str,
        *,
        cpus: str = "1",
        memory_mib: int = MEMORY_MIB,
        volume: str | None = None,
        serve: str | None = "service.app:EdgeService",
        **settings: str,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        self.name = f"xception-test-{uuid.uuid4().hex[:8]}"
        self.volume = volume or f"{self.name}-cache"
        self._podman = podman
        environment = {"BENTOML_PORT": str(self.port), "BENTOML_HOST": "127.0.0.1", **settings}
        self._words = (
            *("run", "--detach", "--name", self.name, "--network", "host", "--cpus", cpus),
            *("--memory", f"{memory_mib}m", *BOUNDS),
            *("--volume", f"{self.volume}:{CACHE}"),
            *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
            *(image, *(("bentoml", "serve", serve) if serve else ())),
        )

    def start(self) -> None:
        """Start the container without waiting for the service."""
        self._podman.run(*self._words)

    def again(self) -> None:
        """Start the container again after it has stopped."""
        self._podman.run("start", self.name)

    def wait_for(self, path: str, status: int = 200) -> httpx.Response:
        """Wait until a path responds with a status."""
        return self.wait(f"{path} responds with {status}", lambda: self._response(path, status))

    def wait_for_log(self, text: str) -> str:
        """Wait until a line of the log contains this text, and return the line."""
        return self.wait(
            f"the log contains {text!r}", lambda: next((s for s in self.log.splitlines() if text in s), None)
        )

    def wait(self, what: str, look: Callable[[], Found | None]) -> Found:
        """Wait until `look` returns something, and return that; the container must not exit meanwhile."""
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            if found := look():
                return found
            assert self.state("Running") == "true", f"the container ended:\n{self.log}"
            time.sleep(0.1)
        raise AssertionError(f"waited in vain until {what}:\n{self.log}")

    def state(self, name: str) -> str:
        """Return a field of the container's state: `Running`, `ExitCode` or `OOMKilled`."""
        return self._podman.run("inspect", "--format", f"{{{{.State.{name}}}}}", self.name).stdout.strip()

    @property
    def log(self) -> str:
        """The output since the container was first started."""
        done = self._podman.run("logs", self.name)
        return done.stdout + done.stderr

    def within(self, *command: str) -> str:
        """Return the output of a command in the container."""
        return self._podman.run("exec", self.name, *command).stdout

    def processes(self) -> dict[str, int]:
        """Return the process ids, within the container, of the `edge` and the `runner`."""
        listed = self.within(
            "sh", "-c", 'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\\0" " " < $p/cmdline)"; done'
        )
        found: dict[str, int] = {}
        for line in listed.splitlines():
            number, _, words = line.partition(" ")
            if " xception_runner" in words:
                found["runner"] = int(number)
            elif "--service-name" in words:
                found["edge"] = int(number)
        return found

    def peak_mib(self) -> float:
        """Return the peak memory in MiB, page cache included."""
        script = "cat " + " ".join(PEAK_FILES) + " 2> /dev/null || true"
        return int(self.within("sh", "-c", script).split()[0]) / 2**20

    def stop(self, seconds: int = 35) -> int:
        """Send SIGTERM, and SIGKILL after a grace period in seconds; return the exit status."""
        self._podman.run("stop", "--time", str(seconds), self.name)
        return int(self.state("ExitCode"))

    def remove(self, *, keep_volume: bool = False) -> None:
        """Remove the container and its volume."""
        self.client.close()
        self._podman.run("rm", "--force", "--time", "0", self.name, check=False)
        if not keep_volume:
            self._podman.run("volume", "rm", "--force", self.volume, check=False)

    def _response(self, path: str, status: int) -> httpx.Response | None:
        with suppress(httpx.TransportError):
            if (response := self.client.get(path)).status_code == status:
                return response
        return None


def build(target: str) -> str:
    """Build a target of the Dockerfile with the script of `make container`, and return the name of the image."""
    return run_build("container_build.py", target)


def build_bento() -> str:
    """Build the image of `bentoml containerize` with the script of `make bento-container`, and return its name."""
    return run_build("container_bento.py")


def run_build(script: str, *words: str) -> str:
    """Run a script that builds an image, and return the name, which it prints in its last line."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *words],
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.splitlines()[-1].rpartition(": ")[0]
