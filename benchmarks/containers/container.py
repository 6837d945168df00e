"""Start containers of the service on this machine: as root, or wherever podman runs.

Their memory is read from the files of the cgroup, and not through `podman exec`, which would be charged for itself.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from benchmarks.measuring.processes import free_port
from benchmarks.options import Function, package_option, precision_option
from service.version import VERSION

ROOT = Path(__file__).parents[2]

MODEL = "loadtest-container"
"""The name of the published model."""

CACHE = "/var/cache/xception"

START_TIMEOUT_S = 120.0

_CGROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
"""Folders of the cgroups of version 1 and of version 2."""

_PEAK = ("memory.max_usage_in_bytes", "memory.peak")
_KILLS = ("memory.oom_control", "memory.events")
_OWN = (("total_rss", "total_shmem"), ("anon", "shmem"))
"""Fields of memory that only the end of a process releases without swap space, by version."""


class NotReadyError(Exception):
    """A container ended, or was not ready in time."""


@dataclass(frozen=True)
class Memory:
    """The kernel's count of a container's memory so far."""

    peak_mib: float
    """Maximum, including cached files, which the kernel drops before it kills."""
    own_mib: float
    """Anonymous and shared memory of its processes at this moment."""
    kills: int
    """Processes killed for lack of memory."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the files of a cgroup of either version.

        Raises:
            OSError: It does not exist, or no longer.
        """
        version = 0 if (folder / _PEAK[0]).exists() else 1
        used = _fields(folder / "memory.stat")
        return cls(
            int((folder / _PEAK[version]).read_text()) / 2**20,
            sum(used[name] for name in _OWN[version]) / 2**20,
            _fields(folder / _KILLS[version])["oom_kill"],
        )


def _fields(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, file.read_text().splitlines())}


class Running:
    """A container that is ready."""

    def __init__(self, name: str, url: str, seconds: float) -> None:
        self.name = name
        self.url = url
        self.seconds = seconds
        """From `podman run` until it was ready."""

    def cgroup(self) -> Path:
        """Return the folder of its cgroup, which exists as long as the container runs."""
        path = (podman("inspect", "--format", "{{.State.CgroupPath}}", self.name) or "").strip().lstrip("/")
        for root in _CGROUPS:
            if (root / path / "memory.stat").exists():
                return root / path
        raise SystemExit(f"the container's cgroup is not where it should be: {path}")


@dataclass(frozen=True)
class ContainerOptions:
    """The options that all benchmarks of containers share."""

    image: str
    package: Path
    precision: str
    cpus: str


def container_options(function: Function) -> Function:
    """Add these options."""
    image = click.option(
        "--image", default=f"localhost/xception-service:{VERSION}", callback=_require_image, help="The image."
    )
    cpus = click.option("--cpus", default="2", help="Limit of each container.")
    return image(package_option(precision_option(cpus(function))))


def _require_image(_: click.Context, __: click.Parameter, image: str) -> str:
    if podman("image", "exists", image, check=False) is None:
        raise click.BadParameter(f"{image} does not exist; `make container` builds it")
    return image


@contextmanager
def running(
    image: str,
    settings: dict[str, str],
    volume_name: str | None,
    *,
    cpus: str,
    memory_mib: int = 2048,
) -> Iterator[Running]:
    """Start a container and wait until it is ready; stop and remove it at the end.

    Args:
        image: Its name.
        settings: Of the service; credentials of the store are passed on from the environment of this process.
        volume_name: Of the cache; None for an image with the cache in a layer.
        cpus: Limit of CPUs.
        memory_mib: Limit of memory, MiB.

    Raises:
        NotReadyError: It ended, or took too long.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    name = f"loadtest-container-{port}"
    credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
    words = ["--network", "host", "--memory", f"{memory_mib}m", "--cpus", cpus, "--cap-drop", "ALL"]
    words += ["--read-only", "--volume", f"{volume_name}:{CACHE}"] if volume_name else []
    words += [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    words += [word for key in credentials for word in ("--env", key)]
    words += ["--env", f"BENTOML_PORT={port}", "--env", "BENTOML_HOST=127.0.0.1"]
    began = time.perf_counter()
    try:
        podman("run", "--detach", "--name", name, *words, image)
        while not _ready(url):
            alive = podman("inspect", "--format", "{{.State.Running}}", name)
            if time.perf_counter() > began + START_TIMEOUT_S or (alive or "").strip() != "true":
                raise NotReadyError(podman("logs", "--tail", "5", name))
        yield Running(name, url, time.perf_counter() - began)
        podman("stop", "--time", "35", name)
    finally:
        podman("rm", "--force", "--time", "0", name, check=False)


def _ready(url: str) -> bool:
    until = time.perf_counter() + 1
    while time.perf_counter() < until:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


@contextmanager
def volume() -> Iterator[str]:
    """Create an empty volume, and remove it with its content."""
    name = f"loadtest-container-{time.time_ns()}"
    podman("volume", "create", name)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name, check=False)


def podman(*words: str, check: bool = True) -> str | None:
    """Run a podman command and return what it printed; None where it failed and `check` is False.

    Raises:
        SystemExit: It failed.
    """
    command = [str(ROOT / "scripts" / "container_podman.sh"), *words]
    # Out of memory, a container leaves a file in the folder where it was started.
    elsewhere = tempfile.gettempdir()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=elsewhere)
    if done.returncode == 0:
        return done.stdout
    if check:
        raise SystemExit(f"podman {words[0]} failed:\n{done.stderr[-2000:]}")
    return None
