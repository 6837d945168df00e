"""What memory a container takes under load, at several limits: `python -m loadtest container_memory`.

Each row is a container of its own, which pulls its model from a real S3 server that this starts on the same machine;
while it lasts eight clients ask without a pause with small pictures. Beside them, in turn:

- nothing;
- a label that is moved round three versions of the same model; the next move comes when the old version is gone;
- two callers with PNGs of 50 megapixels;
- two callers with the dearest pictures that the service takes: progressive CMYK JPEGs of as many pixels as it lets in,
  too narrow to be scaled down while they are decoded (for a model of 299 × 299; by four for one of 71 × 71);
- both these callers and the label.

Other work on the machine spoils the counts of answers, hardly the memory. As root, or wherever podman runs.
"""

from __future__ import annotations

import argparse
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

import aiohttp
import orjson
from PIL import Image
from tqdm import tqdm

from loadtest.machine import describe_machine
from loadtest.pictures import predict_body
from model_store.labels import LabelTarget, set_label
from model_store.manifest import MANIFEST_NAME, Manifest
from model_store.publish import publish
from model_store.remote import Remote
from service.settings import Settings

from .closed_loop import closed_loop
from .container import MODEL, Memory, NotReadyError, Running, container_parser, parse, running, volume
from .s3_server import s3_server

CLIENTS = 8
"""Who ask with small pictures."""

SENDERS = 2
"""Who send large pictures: as many as the service has threads to decode them, on two CPUs."""

LONGEST_SIDE = 65_500
"""Pixels; the longest that a JPEG of Pillow's may have."""

DEAREST_MEGAPIXELS = int(Settings.model_fields["max_image_megapixels"].default)
"""Millions of pixels of the largest picture that is taken, unless the settings say otherwise."""

VERSIONS = 3

TOKEN = "token-of-the-measurement"
"""Opens the reload route of the containers that are started here."""

_LOOK_EVERY_S = 0.05

_SWAP_TIMEOUT_S = 60.0


@dataclass
class Seen:
    """What became of one container."""

    statuses: Counter[int] = field(default_factory=Counter)
    """How many answers had which status, those to large pictures included; 0 stands for none at all."""
    done: int = 0
    """Swaps that were seen, and large pictures that were answered."""
    undone: int = 0
    """Swaps that were not seen, and large pictures that were not answered."""
    own_mib: float = 0.0
    """The most that was its own at any moment that was looked at."""
    last: Memory | None = None
    """What the kernel said last."""
    ended: bool = False
    """Whether the container as a whole ended before the load did."""

    def row(self) -> str:
        """Return the cells of the table, from the third on."""
        assert self.last is not None
        answered = self.statuses[200]
        others = sum(self.statuses.values()) - answered
        beside = f"{self.done} of {self.done + self.undone}" if self.done + self.undone else "–"
        figures = (self.last.peak_mib, self.own_mib, self.last.own_mib)
        cells = " | ".join(f"{figure:.0f}" for figure in figures)
        killed = "the container" if self.ended else str(self.last.kills)
        return f"{beside} | {answered} | {others} | {killed} | {cells}"


HEADS = (
    "limit, MiB",
    "beside eight clients",
    "swaps, pictures",
    "answered",
    "others",
    "killed",
    "peak, MiB",
    "own, at most",
    "own, at the end",
)


class Store:
    """A store with some versions of the model, all alike, and a label to move."""

    def __init__(self, url: str, package: Path) -> None:
        self.remote = Remote.open(url, publishing=True)
        self.targets = publish_alike(package, self.remote, VERSIONS)

    def label(self, target: LabelTarget) -> None:
        """Point `stable` to a version."""
        set_label(self.remote, MODEL, "stable", target)


def publish_alike(package: Path, remote: Remote, count: int) -> list[LabelTarget]:
    """Publish a package several times, each with a manifest of its own: versions that share nothing but the bytes."""
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
    """What a kind of load is given: it adds to `seen` what it did, until a moment of the performance counter."""

    container: Running
    store: Store
    seen: Seen
    until: float


async def move_label(turn: Turn) -> None:
    """Move the label again and again; a swap is seen when an answer names the version that it was moved to."""
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
    """Have the service follow its label; tell whether the version serves, once no other one is in memory."""
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


async def send_large(turn: Turn, body: bytes) -> None:
    """Send a large picture again and again, from two callers."""
    left_s = max(0.0, turn.until - time.perf_counter())
    loop = await closed_loop(predict(turn.container), [body], SENDERS, left_s, back_off_s=0.5)
    turn.seen.statuses += loop.statuses
    turn.seen.done += loop.statuses[200]
    turn.seen.undone += sum(loop.statuses.values()) - loop.statuses[200]


async def nothing(turn: Turn) -> None:
    """Leave it to the clients."""


async def large(turn: Turn) -> None:
    """Send PNGs of 50 megapixels."""
    await send_large(turn, picture_body("PNG", "RGB", (10_000, 5_000)))


async def dearest(turn: Turn) -> None:
    """Send what takes most memory to decode."""
    height = DEAREST_MEGAPIXELS * 1_000_000 // LONGEST_SIDE
    await send_large(turn, picture_body("JPEG", "CMYK", (LONGEST_SIDE, height)))


async def both(turn: Turn) -> None:
    """Move the label beside what takes most memory to decode; swaps and pictures are counted together."""
    await asyncio.gather(move_label(turn), dearest(turn))


Beside = Callable[[Turn], Awaitable[None]]

LOADS: Mapping[str, tuple[str, Beside]] = {
    "small": ("nothing", nothing),
    "swaps": ("a label moves round three versions", move_label),
    "large": ("two callers with PNGs of 50 MP", large),
    "dearest": (f"two callers with narrow CMYK JPEGs of {DEAREST_MEGAPIXELS} MP", dearest),
    "both": ("the same two callers, and a label that moves", both),
}


@cache
def picture_body(kind: str, mode: str, size: tuple[int, int]) -> bytes:
    """Return a predict request with one picture, all of one colour: small to send, large to decode.

    Args:
        kind: A format, as Pillow names it; a JPEG becomes a progressive one.
        mode: Pillow's, of the pixels.
        size: Width and height.
    """
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, progressive=True)
    return orjson.dumps({"instances": [{"b64": b64encode(file.getvalue()).decode()}]})


def predict(container: Running) -> str:
    """Return the URL to post pictures to."""
    return f"{container.url}/v1/models/{MODEL}:predict"


async def watch(cgroup: Path, seen: Seen) -> None:
    """Look at the memory of a container until this is cancelled, or the container has ended."""
    while True:
        try:
            seen.last = Memory.read(cgroup)
        except OSError:
            seen.ended = True
            return
        seen.own_mib = max(seen.own_mib, seen.last.own_mib)
        await asyncio.sleep(_LOOK_EVERY_S)


async def load(container: Running, store: Store, beside: Beside, small: bytes, seconds: float) -> Seen:
    """Put one kind of load on a container, and say what became of it."""
    seen = Seen()
    watching = asyncio.create_task(watch(container.cgroup(), seen))
    until = time.perf_counter() + seconds
    clients = closed_loop(predict(container), [small], CLIENTS, seconds, back_off_s=0.5)
    loop, _ = await asyncio.gather(clients, beside(Turn(container, store, seen, until)))
    seen.statuses += loop.statuses
    await asyncio.sleep(2 * _LOOK_EVERY_S)
    watching.cancel()
    return seen


def measure(options: argparse.Namespace, settings: dict[str, str], store: Store, small: bytes) -> list[str]:
    """Put every kind of load on a container at every limit; return the rows of the table."""
    rows = []
    turns = [(limit, *LOADS[name]) for limit in options.limits for name in options.loads]
    for limit, name, beside in tqdm(turns, leave=False):
        store.label(store.targets[0])
        with volume() as empty:
            try:
                with running(options.image, settings, empty, cpus=options.cpus, memory_mib=limit) as container:
                    seen = asyncio.run(load(container, store, beside, small, options.seconds))
            except NotReadyError:
                rows.append(f"| {limit} | {name} | does not start{' |' * (len(HEADS) - 2)}")
            else:
                rows.append(f"| {limit} | {name} | {seen.row()} |")
    return rows


def table(rows: Sequence[str]) -> str:
    """Return the rows below their heads."""
    return "\n".join([f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}", *rows])


def main(arguments: list[str]) -> int:
    """Measure, and print the table."""
    parser = container_parser("container_memory", __doc__)
    parser.add_argument("--engine", choices=("auto", "openvino", "tensorflow"), default="auto", help="(%(default)s)")
    parser.add_argument("--limits", type=int, nargs="+", default=[768, 1024, 1536, 2048], metavar="MIB")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS), help="kinds of load (all)")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (%(default)s)")
    options = parse(parser, arguments)
    contract = Manifest.parse((options.package / MANIFEST_NAME).read_bytes()).input
    small = predict_body((contract.width, contract.height), 1)
    with s3_server() as url:
        settings = {
            "MODEL_STORE_URL": url,
            "MODEL_NAME": MODEL,
            "ENGINE": options.engine,
            "PRECISION": options.precision,
            "ADMIN_TOKEN": TOKEN,
            "MODEL_POLL_S": "0",
        }
        rows = measure(options, settings, Store(url, options.package), small)
    size = f"{contract.width} × {contract.height}"
    print(f"{describe_machine()}; --cpus {options.cpus}; {size}, {options.engine} in {options.precision}\n")
    print(table(rows))
    return 0
