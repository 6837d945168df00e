"""How long a container takes from `podman run` until it is ready: `python -m loadtest container_start`.

The image as `make container` builds it, in turn: with an empty volume, so that the version comes from a real S3 server
that this starts on the same machine; with the volume of an earlier container; and beside them a derived image that is
made for this alone, with the model baked in: its store and its cache lie in a layer, nothing is asked of a network.
Then the first image under load at several limits of memory. As root, or wherever podman runs.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tqdm import tqdm

from loadtest.figures import spread
from loadtest.machine import describe_machine
from loadtest.pictures import predict_body
from loadtest.processes import free_port
from model_store.manifest import MANIFEST_NAME, Manifest
from model_store.publish import publish
from model_store.remote import Remote

from .closed_loop import closed_loop
from .s3_server import s3_server

ROOT = Path(__file__).parents[2]

MODEL = "loadtest-container"
"""What is published, to a server of its own, and to a folder."""

BAKED = "localhost/xception-service-baked:measurement"

CACHE = "/var/cache/xception"

START_TIMEOUT_S = 120.0

_USED = (
    ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat"),
)
"""Where the kernel says what a container has had at most, and has: with cgroups of version 2 and of version 1."""


def main(arguments: list[str]) -> int:
    """Start containers again and again, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest container_start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    parser.add_argument("--image", default=f"localhost/xception-service:{version}", help="(%(default)s)")
    parser.add_argument("--package", type=Path, default=Path(".local/package"), help="a packaged version (%(default)s)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "int8"), default="auto", help="of the engine")
    parser.add_argument("--cpus", default="2", help="limit of each container (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind (%(default)s)")
    parser.add_argument("--limits", type=int, nargs="*", default=[512, 768, 1024], metavar="MIB", help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of load at each limit (%(default)s)")
    options = parser.parse_args(arguments)
    if not (options.package / MANIFEST_NAME).is_file():
        parser.error(f"--package {options.package}: no {MANIFEST_NAME} there; `make model` makes one")
    if podman("image", "exists", options.image, check=False) is None:
        parser.error(f"--image {options.image}: not there; `make container` builds it")
    with s3_server() as url, tempfile.TemporaryDirectory() as folder:
        publish(options.package, Remote.open(url), MODEL, labels=("stable",))
        settings = {"MODEL_STORE_URL": url, "MODEL_NAME": MODEL, "PRECISION": options.precision}
        try:
            measure_starts(options, settings, Path(folder))
            measure_limits(options, settings)
        finally:
            podman("image", "rm", "--force", BAKED, check=False)
    return 0


def measure_starts(options: argparse.Namespace, settings: dict[str, str], folder: Path) -> None:
    """Print how long starts take, and how large the images are."""
    with volume() as kept:
        with running(options, settings, options.image, kept):
            pass
        bake(options, kept, folder)
        baked = {**settings, "MODEL_STORE_URL": "file:///srv/models"}
        seconds: dict[str, list[float]] = {name: [] for name in ("with its volume", "pulled, empty volume", "baked in")}
        for _ in tqdm(range(options.rounds), leave=False):
            with running(options, settings, options.image, kept) as taken:
                seconds["with its volume"].append(taken.seconds)
            with volume() as empty, running(options, settings, options.image, empty) as taken:
                seconds["pulled, empty volume"].append(taken.seconds)
            with running(options, baked, BAKED, None) as taken:
                seconds["baked in"].append(taken.seconds)
    sizes = {name: size(BAKED if name == "baked in" else options.image) for name in seconds}
    print(f"{describe_machine()}; --cpus {options.cpus}\n")
    print("| | s to ready (min–max) | ÷ baked in | image, MB |\n|---|---|---|---|")
    base = median(seconds["baked in"])
    for name, taken_s in seconds.items():
        print(f"| {name} | {spread(taken_s, '.2f')} | {median(taken_s) / base:.2f} | {sizes[name] / 1e6:.0f} |")


def measure_limits(options: argparse.Namespace, settings: dict[str, str]) -> None:
    """Print what becomes of the service under load at limits of memory."""
    contract = Manifest.parse((options.package / MANIFEST_NAME).read_bytes()).input
    body = predict_body((contract.width, contract.height), 1)
    heads = ("limit, MiB", "answered", "others", "out of memory", "peak, MiB", "of its own at the end, MiB")
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for limit in options.limits:
        with volume() as empty:
            try:
                with running(options, settings, options.image, empty, memory_mib=limit) as container:
                    url = f"{container.url}/v1/models/{MODEL}:predict"
                    seen = asyncio.run(closed_loop(url, [body], 8, options.seconds, back_off_s=0.5))
                    peak, own = container.memory_mib()
                    killed = container.kills()
            except NotReadyError:
                print(f"| {limit} | does not start | | | | |")
                continue
        others = sum(seen.statuses.values()) - seen.statuses[200]
        print(f"| {limit} | {seen.statuses[200]} | {others} | {killed} | {peak:.0f} | {own:.0f} |")


class NotReadyError(Exception):
    """A container was not ready in time, or ended."""


class Running:
    """A container that is ready."""

    def __init__(self, name: str, url: str, seconds: float) -> None:
        self.name = name
        self.url = url
        self.seconds = seconds
        """From `podman run` until it was ready."""

    def memory_mib(self) -> tuple[float, float]:
        """Return what it has had at most, with the files that the kernel keeps for it, and what is its own now."""
        texts = [
            podman("exec", self.name, "sh", "-c", f"cat {' '.join(paths)} 2> /dev/null || true") for paths in _USED
        ]
        peak, status = (text or "" for text in texts)
        fields = dict(line.split() for line in status.splitlines())
        return int(peak.split()[0]) / 2**20, int(fields.get("anon", fields.get("total_rss", "0"))) / 2**20

    def kills(self) -> int:
        """Return how often something in it was killed for lack of memory."""
        paths = "/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"
        text = podman("exec", self.name, "sh", "-c", f"cat {paths} 2> /dev/null || true") or ""
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


@contextmanager
def running(
    options: argparse.Namespace,
    settings: dict[str, str],
    image: str,
    volume_name: str | None,
    *,
    memory_mib: int = 2048,
) -> Iterator[Running]:
    """Start a container and wait until it is ready; stop it and remove it at the end.

    Raises:
        NotReadyError: It ended, or took too long.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    name = f"loadtest-container-{port}"
    credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
    words = ["--network", "host", "--memory", f"{memory_mib}m", "--cpus", options.cpus, "--cap-drop", "ALL"]
    # The baked image has its cache in a layer, to which the service has to be able to write.
    words += ["--read-only", "--volume", f"{volume_name}:{CACHE}"] if volume_name else []
    words += [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    words += [word for key in credentials for word in ("--env", key)]
    words += ["--env", f"BENTOML_PORT={port}", "--env", "BENTOML_HOST=127.0.0.1"]
    began = time.perf_counter()
    podman("run", "--detach", "--name", name, *words, image)
    try:
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


def bake(options: argparse.Namespace, volume_name: str, folder: Path) -> None:
    """Make the image with the store, and the cache as a container left it, in layers."""
    cache = podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume_name)
    assert cache is not None
    shutil.copytree(cache.strip(), folder / "cache")
    publish(options.package, Remote.open(f"file://{folder / 'store'}", publishing=True), MODEL, labels=("stable",))
    lines = (
        f"FROM {options.image}",
        "COPY --chown=10001:10001 store /srv/models",
        f"COPY --chown=10001:10001 cache {CACHE}",
    )
    (folder / "Dockerfile").write_text("\n".join(lines))
    podman("build", "--quiet", "--format", "docker", "--tag", BAKED, str(folder))


def size(image: str) -> int:
    """Return the bytes of an image, unpacked."""
    return int(podman("image", "inspect", "--format", "{{.Size}}", image) or 0)


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
