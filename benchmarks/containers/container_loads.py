"""The kinds of load on a container: small and large images, and a label that moves."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from itertools import cycle
from pathlib import Path

import orjson
from PIL import Image

from benchmarks.lifecycle.swapper import loaded_versions, reload
from benchmarks.load.closed_loop import OK, Report
from benchmarks.load.closed_loop_process import ClosedLoop
from benchmarks.servers.server_process import request
from model_store.catalog.labels import LabelTarget, set_label
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from model_store.trust.manifest import MANIFEST_NAME, Manifest
from service.settings import Settings

from .container import MODEL, Memory, Running

SENDERS = 2
"""Clients with large images: as many as the service has threads to decode them, on two CPUs."""

LONGEST_SIDE = 65_500
"""Pixels; the longest that a JPEG of Pillow's may have."""

MAX_MEGAPIXELS = int(Settings.model_fields["max_image_megapixels"].default)
"""Millions of pixels of the largest image that the service accepts by default."""

VERSIONS = 3

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
    """Move the label again and again."""
    for target in cycle([*turn.store.targets[1:], turn.store.targets[0]]):
        if time.perf_counter() > turn.until:
            return
        if await asyncio.to_thread(_swap, turn, target):
            turn.seen.done += 1
        else:
            turn.seen.undone += 1
            await asyncio.sleep(1)


def _swap(turn: Turn, target: LabelTarget) -> bool:
    """Move the label; return whether the service names the new version, once no other one is in memory."""
    url = f"{turn.container.url}/v1/models/{MODEL}"
    turn.store.label(target)
    try:
        if reload(url, _SWAP_TIMEOUT_S)[0] != 200:
            return False
        with request(f"{url}/metadata", timeout=_SWAP_TIMEOUT_S) as response:
            named = json.load(response)["model_spec"]["version"]
        while loaded_versions(url) > 1:
            time.sleep(0.1)
    except (OSError, HTTPException, ValueError, KeyError):
        return False
    return int(named) == target.version


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
