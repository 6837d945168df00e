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
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.lifecycle.swapper import TOKEN
from benchmarks.measuring.machine import describe_machine
from benchmarks.options import ABOVE_ZERO, POSITIVE, Commas, benchmark
from benchmarks.servers.s3_server import s3_server
from loadtest.load.images import predict_body
from model_store.trust.manifest import MANIFEST_NAME, Manifest

from .container import MODEL, ContainerOptions, Memory, NotReadyError, Running, container_options, running, volume
from .container_loads import LOADS, Beside, Seen, Store, Turn, send

CLIENTS = 8
"""Clients with small images."""

_SAMPLE_EVERY_S = 0.05

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
