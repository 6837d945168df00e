"""A container of the service on this machine, for the measurements that start some: as root, or wherever podman runs.

Its memory is read from the files of its cgroup, and not through `podman exec`, which would be charged for itself.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loadtest.processes import free_port
from model_store.trust.manifest import MANIFEST_NAME
from service.version import VERSION

ROOT = Path(__file__).parents[2]

MODEL = "loadtest-container"
"""What is published, to a server of its own, and to a folder."""

CACHE = "/var/cache/xception"

START_TIMEOUT_S = 120.0

_CGROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
"""Where cgroups of version 1 lie, and those of version 2."""

_PEAK = ("memory.max_usage_in_bytes", "memory.peak")
_KILLS = ("memory.oom_control", "memory.events")
_OWN = (("total_rss", "total_shmem"), ("anon", "shmem"))
"""How each version calls what nothing but the end of a process gives back, where there is no swap space."""


class NotReadyError(Exception):
    """A container was not ready in time, or ended."""


@dataclass(frozen=True)
class Memory:
    """What the kernel has counted of a container so far."""

    peak_mib: float
    """The most that it has had, with the files that the kernel keeps for it, and gives up before it kills."""
    own_mib: float
    """What its processes have made themselves, and share among them, at this moment."""
    kills: int
    """How many processes were killed, as there was no more memory."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the files of a cgroup of either version.

        Raises:
            OSError: It is not there, or no more.
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
        """Return the folder with what the kernel counts of it; it goes when the container ends."""
        path = (podman("inspect", "--format", "{{.State.CgroupPath}}", self.name) or "").strip().lstrip("/")
        for root in _CGROUPS:
            if (root / path / "memory.stat").exists():
                return root / path
        raise SystemExit(f"the kernel's count of a container's memory is not where it should be: {path}")


def container_parser(command: str, text: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every measurement of a container takes."""
    parser = argparse.ArgumentParser(
        prog=f"python -m loadtest {command}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--image", default=f"localhost/xception-service:{VERSION}", help="(%(default)s)")
    parser.add_argument("--package", type=Path, default=Path(".local/package"), help="a packaged version (%(default)s)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "int8"), default="auto", help="of the engine")
    parser.add_argument("--cpus", default="2", help="limit of each container (%(default)s)")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Return the options, once package and image are seen to be there; else say what makes them, and exit."""
    options = parser.parse_args(arguments)
    if not (options.package / MANIFEST_NAME).is_file():
        parser.error(f"--package {options.package}: no {MANIFEST_NAME} there; `make model` makes one")
    if podman("image", "exists", options.image, check=False) is None:
        parser.error(f"--image {options.image}: not there; `make container` builds it")
    return options


@contextmanager
def running(
    image: str,
    settings: dict[str, str],
    volume_name: str | None,
    *,
    cpus: str,
    memory_mib: int = 2048,
) -> Iterator[Running]:
    """Start a container and wait until it is ready; stop it and remove it at the end.

    Args:
        image: Its name.
        settings: Of the service; credentials of the store are handed on from the environment of this process.
        volume_name: Of the cache; None for an image that has one in a layer, to which the service has to write.
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
    """Make an empty volume, and remove it with what is in it."""
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
    # Where a container is started, a file is left behind that says that it ran out of memory.
    elsewhere = tempfile.gettempdir()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=elsewhere)
    if done.returncode == 0:
        return done.stdout
    if check:
        raise SystemExit(f"podman {words[0]} failed:\n{done.stderr[-2000:]}")
    return None
