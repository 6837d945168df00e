"""How long a container takes from `podman run` until it is ready: `python -m loadtest container_start`.

The image as `make container` builds it, in turn: with an empty volume, so that the version comes from a real S3 server
that this starts on the same machine; with the volume of an earlier container; and beside them a derived image that is
made for this alone, with the model baked in: its store and its cache lie in a layer, nothing is asked of a network.
As root, or wherever podman runs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from statistics import median

from tqdm import tqdm

from loadtest.figures import spread
from loadtest.machine import describe_machine
from model_store.store.remote import Remote
from model_store.transfer.publish import publish

from .container import CACHE, MODEL, container_parser, parse, podman, running, volume
from .s3_server import s3_server

BAKED = "localhost/xception-service-baked:measurement"


def main(arguments: list[str]) -> int:
    """Start containers again and again, and print the table."""
    parser = container_parser("container_start", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind (%(default)s)")
    options = parse(parser, arguments)
    with s3_server() as url, tempfile.TemporaryDirectory() as folder:
        publish(options.package, Remote.open(url), MODEL, labels=("stable",))
        settings = {"MODEL_STORE_URL": url, "MODEL_NAME": MODEL, "PRECISION": options.precision}
        try:
            measure_starts(options, settings, Path(folder))
        finally:
            podman("image", "rm", "--force", BAKED, check=False)
    return 0


def measure_starts(options: argparse.Namespace, settings: dict[str, str], folder: Path) -> None:
    """Print how long starts take, and how large the images are."""
    with volume() as kept:
        with running(options.image, settings, kept, cpus=options.cpus):
            pass
        bake(options, kept, folder)
        baked = {**settings, "MODEL_STORE_URL": "file:///srv/models"}
        seconds: dict[str, list[float]] = {name: [] for name in ("with its volume", "pulled, empty volume", "baked in")}
        for _ in tqdm(range(options.rounds), leave=False):
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
