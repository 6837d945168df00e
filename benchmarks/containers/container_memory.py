"""Measure the memory of a container under load, at several limits: `python -m benchmarks container_memory`.

Each row is a container of its own, which pulls its model from a real S3 server that this starts on the same machine;
eight clients send small images without a pause. Beside them, in turn:

- nothing;
- a label that moves round three versions of the same model; it moves again when the old version is unloaded;
- two clients with PNGs of 50 megapixels;
- two clients with the most expensive images that the service accepts: progressive CMYK JPEGs of the maximum size, too
  narrow to be scaled down while they are decoded (for a model of 299 × 299; by four for one of 71 × 71);
- both these clients and the label.

Other work on the machine spoils the counts of responses, hardly the memory. As root, or wherever podman runs.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import click
import orjson
from PIL import Image
from tqdm import tqdm

from benchmarks.load.closed_loop import OK, Report
from benchmarks.load.closed_loop_process import ClosedLoop
from benchmarks.measuring.machine import describe_machine
from benchmarks.options import ABOVE_ZERO, POSITIVE, Commas, benchmark
from benchmarks.servers.s3_server import s3_server
from loadtest.load.images import predict_body
from model_store.labels import LabelTarget, set_label
from model_store.manifest import MANIFEST_NAME, Manifest
from model_store.publish import publish
from model_store.remote import Remote
from service.settings import Settings

from .container import MODEL, ContainerOptions, Memory, NotReadyError, Running, container_options, running, volume

CLIENTS = 8
"""Clients with small images."""

SENDERS = 2
"""Clients with large images: as many as the service has threads to decode them, on two CPUs."""

LONGEST_SIDE = 65_500
"""Pixels; the longest that a JPEG of Pillow's may have."""

MAX_MEGAPIXELS = int(Settings.model_fields["max_image_megapixels"].default)
"""Millions of pixels of the largest image that the service accepts by default."""

VERSIONS = 3

TOKEN = "token-of-the-measurement"
"""Authorizes reloads of the containers that are started here."""

_SAMPLE_EVERY_S = 0.05

_SWAP_TIMEOUT_S = 60.0


@dataclass
class Seen:
    """The results of one container."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Responses by status, those to large images included."""
    done: int = 0
    """Completed swaps, and large images with a good response."""
    undone: int = 0
    """Failed swaps, and large images without a good response."""
    own_mib: float = 0.0
    """Maximum of its own memory in the samples."""
    last: Memory | None = None
    """The last sample."""
    ended: bool = False
    """Whether the container as a whole ended before the load did."""

    def row(self) -> str:
        """Return the cells of the table, from the third on."""
        assert self.last is not None
        answered = self.statuses[OK]
        others = sum(self.statuses.values()) - answered
        beside = f"{self.done} of {self.done + self.undone}" if self.done + self.undone else "–"
        figures = (self.last.peak_mib, self.own_mib, self.last.own_mib)
        cells = " | ".join(f"{figure:.0f}" for figure in figures)
        killed = "the container" if self.ended else str(self.last.kills)
        return f"{beside} | {answered} | {others} | {killed} | {cells}"


HEADS = (
    "limit, MiB",
    "beside eight clients",
    "swaps, images",
    "answered",
    "others",
    "killed",
    "peak, MiB",
    "own, at most",
    "own, at the end",
)


class Store:
    """A store with identical versions of the model, and a label to move."""

    def __init__(self, url: str, package: Path) -> None:
        self.remote = Remote.open(url, publishing=True)
        self.targets = publish_copies(package, self.remote, VERSIONS)

    def label(self, target: LabelTarget) -> None:
        """Point `stable` to a version."""
        set_label(self.remote, MODEL, "stable", target)


def publish_copies(package: Path, remote: Remote, count: int) -> list[LabelTarget]:
    """Publish a package several times, each with a manifest of its own."""
    manifest = Manifest.parse((package / MANIFEST_NAME).read_bytes())
    targets = []
    with tempfile.TemporaryDirectory() as name:
        folder = shutil.copytree(package, Path(name) / "package")
        for number in range(count):
            numbered = manifest.model_copy(update={"provenance": {**manifest.provenance, "copy": number}})
            (folder / MANIFEST_NAME).write_bytes(numbered.to_bytes())
            done = publish(folder, remote, MODEL)
            targets.append(LabelTarget(version=done.version, manifest=done.digest))
    return targets


@dataclass(frozen=True)
class Turn:
    """The input of a kind of load, which adds its results to `seen` until a time of `time.perf_counter`."""

    container: Running
    store: Store
    seen: Seen
    until: float


async def move_label(turn: Turn) -> None:
    """Move the label again and again; a swap is complete when the service names the new version."""
    url = f"{turn.container.url}/v1/models/{MODEL}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    timeout = aiohttp.ClientTimeout(total=_SWAP_TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        for target in cycle([*turn.store.targets[1:], turn.store.targets[0]]):
            if time.perf_counter() > turn.until:
                return
            await asyncio.to_thread(turn.store.label, target)
            if await _swapped(session, url, target.version):
                turn.seen.done += 1
            else:
                turn.seen.undone += 1
                await asyncio.sleep(1)


async def _swapped(session: aiohttp.ClientSession, url: str, version: int) -> bool:
    """Have the service follow its label; return whether the version serves, once no other one is in memory."""
    try:
        async with session.post(f"{url}/reload") as answer:
            if answer.status != 200:
                return False
        async with session.get(f"{url}/metadata") as answer:
            named = (await answer.json())["model_spec"]["version"]
        while await _in_memory(session, url) > 1:  # noqa: ASYNC110 -- what is waited for happens in another process
            await asyncio.sleep(0.1)
    except (aiohttp.ClientError, TimeoutError, KeyError):
        return False
    return int(named) == version


async def _in_memory(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        statuses = (await answer.json())["model_version_status"]
    return sum(status["state"] not in ("END", "START") for status in statuses)


async def send(container: Running, body: bytes, clients: int, seconds: float) -> Report:
    """Send one request again and again from a number of clients."""
    loop = ClosedLoop(predict(container), [body], clients, back_off_s=0.5)
    try:
        return await asyncio.to_thread(loop.run, seconds, 0.0)
    finally:
        loop.stop()


async def send_large(turn: Turn, body: bytes) -> None:
    """Send a large image again and again, from two clients."""
    report = await send(turn.container, body, SENDERS, max(0.0, turn.until - time.perf_counter()))
    turn.seen.statuses += report.statuses
    turn.seen.done += report.statuses[OK]
    turn.seen.undone += sum(report.failures.values())


async def nothing(turn: Turn) -> None:
    """Add no load."""


async def large(turn: Turn) -> None:
    """Send PNGs of 50 megapixels."""
    await send_large(turn, image_body("PNG", "RGB", (10_000, 5_000)))


async def dearest(turn: Turn) -> None:
    """Send the images that take most memory to decode."""
    height = MAX_MEGAPIXELS * 1_000_000 // LONGEST_SIDE
    await send_large(turn, image_body("JPEG", "CMYK", (LONGEST_SIDE, height)))


async def both(turn: Turn) -> None:
    """Move the label beside the images that take most memory to decode; swaps and images are counted together."""
    await asyncio.gather(move_label(turn), dearest(turn))


Beside = Callable[[Turn], Awaitable[None]]

LOADS: Mapping[str, tuple[str, Beside]] = {
    "small": ("nothing", nothing),
    "swaps": ("a label moves round three versions", move_label),
    "large": ("two clients with PNGs of 50 MP", large),
    "dearest": (f"two clients with narrow CMYK JPEGs of {MAX_MEGAPIXELS} MP", dearest),
    "both": ("the same two clients, and a label that moves", both),
}


@cache
def image_body(kind: str, mode: str, size: tuple[int, int]) -> bytes:
    """Return a predict request with one image of one colour: small to send, large to decode.

    Args:
        kind: A format, as Pillow names it; a JPEG becomes a progressive one.
        mode: Pillow's, of the pixels.
        size: Width and height.
    """
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, progressive=True)
    return orjson.dumps({"instances": [{"b64": b64encode(file.getvalue()).decode()}]})


def predict(container: Running) -> str:
    """Return the URL to post images to."""
    return f"{container.url}/v1/models/{MODEL}:predict"


async def watch(cgroup: Path, seen: Seen) -> None:
    """Sample the memory of a container until this is cancelled, or the container has ended."""
    while True:
        try:
            seen.last = Memory.read(cgroup)
        except OSError:
            seen.ended = True
            return
        seen.own_mib = max(seen.own_mib, seen.last.own_mib)
        await asyncio.sleep(_SAMPLE_EVERY_S)


async def load(container: Running, store: Store, beside: Beside, small: bytes, seconds: float) -> Seen:
    """Put one kind of load on a container, and return the results."""
    seen = Seen()
    watching = asyncio.create_task(watch(container.cgroup(), seen))
    until = time.perf_counter() + seconds
    report, _ = await asyncio.gather(
        send(container, small, CLIENTS, seconds), beside(Turn(container, store, seen, until))
    )
    seen.statuses += report.statuses
    await asyncio.sleep(2 * _SAMPLE_EVERY_S)
    watching.cancel()
    return seen


def measure(
    options: ContainerOptions,
    settings: dict[str, str],
    store: Store,
    small: bytes,
    turns: Sequence[tuple[int, str, Beside]],
    seconds: float,
) -> list[str]:
    """Run each turn, a limit and a kind of load, in a container of its own; return the rows of the table."""
    rows = []
    for limit, name, beside in tqdm(turns, leave=False):
        store.label(store.targets[0])
        with volume() as empty:
            try:
                with running(options.image, settings, empty, cpus=options.cpus, memory_mib=limit) as container:
                    seen = asyncio.run(load(container, store, beside, small, seconds))
            except NotReadyError:
                rows.append(f"| {limit} | {name} | does not start{' |' * (len(HEADS) - 2)}")
            else:
                rows.append(f"| {limit} | {name} | {seen.row()} |")
    return rows


def table(rows: Sequence[str]) -> str:
    """Return the rows below their heads."""
    return "\n".join([f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}", *rows])


@benchmark(__doc__)
@container_options
@click.option("--engine", type=click.Choice(["auto", "openvino", "tensorflow"]), default="auto")
@click.option("--limits", type=Commas(POSITIVE), default="768,1024,1536,2048", help="Limits of memory, MiB.")
@click.option("--loads", type=Commas(click.Choice(list(LOADS))), default=",".join(LOADS), help="Kinds of load.")
@click.option("--seconds", type=ABOVE_ZERO, default=20.0, help="Length of each load.")
def main(engine: str, limits: Sequence[int], loads: Sequence[str], seconds: float, **values: Any) -> int:
    """Measure, and print the table."""
    options = ContainerOptions(**values)
    contract = Manifest.parse((options.package / MANIFEST_NAME).read_bytes()).input
    small = predict_body((contract.width, contract.height), 1)
    turns = [(limit, *LOADS[name]) for limit in limits for name in loads]
    with s3_server() as url:
        settings = {
            "MODEL_STORE_URL": url,
            "MODEL_NAME": MODEL,
            "ENGINE": engine,
            "PRECISION": options.precision,
            "ADMIN_TOKEN": TOKEN,
            "MODEL_POLL_S": "0",
        }
        rows = measure(options, settings, Store(url, options.package), small, turns, seconds)
    size = f"{contract.width} × {contract.height}"
    print(f"{describe_machine()}; --cpus {options.cpus}; {size}, {engine} in {options.precision}\n")
    print(table(rows))
    return 0
