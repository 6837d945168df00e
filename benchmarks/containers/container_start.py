"""Measure the time from `podman run` until a container is ready: `python -m benchmarks container_start`.

The image as `make container` builds it, in turn: with an empty volume, so that the version is pulled from a real S3
server that this starts on the same machine; with the volume of an earlier container; and a derived image with the model
baked in: store and cache are in a layer, and no network is used. As root, or wherever podman runs.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.summary import spread
from benchmarks.options import benchmark, rounds_option
from benchmarks.servers.s3_server import s3_server
from model_store.store.remote import Remote
from model_store.transfer.publish import publish

from .container import CACHE, MODEL, ContainerOptions, container_options, podman, running, volume

BAKED = "localhost/xception-service-baked:measurement"


@benchmark(__doc__)
@container_options
@rounds_option(5)
def main(rounds: int, **values: Any) -> int:
    """Start containers again and again, and print the table."""
    options = ContainerOptions(**values)
    with s3_server() as url, tempfile.TemporaryDirectory() as folder:
        publish(options.package, Remote.open(url), MODEL, labels=("stable",))
        settings = {"MODEL_STORE_URL": url, "MODEL_NAME": MODEL, "PRECISION": options.precision}
        try:
            measure_starts(options, settings, Path(folder), rounds)
        finally:
            podman("image", "rm", "--force", BAKED, check=False)
    return 0


def measure_starts(options: ContainerOptions, settings: dict[str, str], folder: Path, rounds: int) -> None:
    """Print the times of starts and the sizes of images."""
    with volume() as kept:
        with running(options.image, settings, kept, cpus=options.cpus):
            pass
        bake(options, kept, folder)
        baked = {**settings, "MODEL_STORE_URL": "file:///srv/models"}
        seconds: dict[str, list[float]] = {name: [] for name in ("with its volume", "pulled, empty volume", "baked in")}
        for _ in tqdm(range(rounds), leave=False):
            with running(options.image, settings, kept, cpus=options.cpus) as taken:
                seconds["with its volume"].append(taken.seconds)
            with volume() as empty, running(options.image, settings, empty, cpus=options.cpus) as taken:
                seconds["pulled, empty volume"].append(taken.seconds)
            with running(BAKED, baked, None, cpus=options.cpus) as taken:
                seconds["baked in"].append(taken.seconds)
    sizes = {name: size(BAKED if name == "baked in" else options.image) for name in seconds}
    print(f"{describe_machine()}; --cpus {options.cpus}\n")
    print("| | s to ready (min–max) | ÷ baked in | image, MB |\n|---|---|---|---|")
    base = median(seconds["baked in"])
    for name, taken_s in seconds.items():
        print(f"| {name} | {spread(taken_s, '.2f')} | {median(taken_s) / base:.2f} | {sizes[name] / 1e6:.0f} |")


def bake(options: ContainerOptions, volume_name: str, folder: Path) -> None:
    """Build the image with the store, and the cache as a container left it, in layers."""
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
    """Return the unpacked size of an image in bytes."""
    return int(podman("image", "inspect", "--format", "{{.Size}}", image) or 0)
