"""Compare BentoML's `batchable=True` with this project's batcher: `python -m benchmarks batchers`.

Both run behind the same edge and the same typed call, with the same engine and images; the service as it is shipped is
the third. Rounds alternate; medians count. Needs a published model (`make model`); other work on the machine spoils the
figures. docs/adr/0001-own-micro-batcher.md keeps a result.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import aiohttp
import click
import orjson
from PIL import Image
from tqdm import tqdm

from benchmarks.load.closed_loop import Report, closed_loop, write_bodies
from benchmarks.measuring.summary import spread
from benchmarks.options import ABOVE_ZERO, benchmark, rounds_option
from benchmarks.servers.server_process import EDGE, BentoMLServer

THE_SERVICE = "the service"
SERVICES = {
    "BentoML batchable": "benchmarks.batching.batcher_services:BentoMLBatching",
    "own batcher, same hop": "benchmarks.batching.batcher_services:OwnBatching",
    THE_SERVICE: EDGE,
}
CLIENTS = (1, 8, 32)
OVERLOAD_CLIENTS = 512
DEADLINE_S = 2.0


def magenta() -> bytes:
    """Return the body of a request whose image makes the engine of the two prototypes fail."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "magenta").save(out, "PNG")
    return orjson.dumps({"instances": [{"b64": b64encode(out.getvalue()).decode()}]})


async def one_bad_item(url: str, good: bytes) -> str:
    """Send a bad image among 15 good ones and return the result of the good ones; the worst of three tries counts."""
    worst = 16
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def status(body: bytes) -> int:
            async with session.post(url, data=body) as response:
                return response.status

        for _ in range(3):
            statuses = await asyncio.gather(*(status(magenta() if place == 7 else good) for place in range(16)))
            worst = min(worst, sum(code == 200 for place, code in enumerate(statuses) if place != 7))
    return f"{worst} of 15 good ones succeeded"


async def cancelled_requests(server: BentoMLServer, good: bytes) -> str:
    """Send 64 requests, close all connections after 150 ms, and return how many images the engine ran all the same."""

    async def ran(session: aiohttp.ClientSession) -> int:
        async with session.get(f"{server.url}/ran") as response:
            if response.status == 200:
                return int((await response.json())["images"])
        async with session.get(f"{server.url}/metrics") as response:
            for line in (await response.text()).splitlines():
                if line.startswith("xception_batch_size_sum"):
                    return int(float(line.split()[-1]))
        return 0

    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        before = await ran(session)
        tasks = [asyncio.ensure_future(session.post(server.predict_url, data=good)) for _ in range(64)]
        await asyncio.sleep(0.15)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(3)
        return f"{await ran(session) - before} of 64 run"


@benchmark(__doc__)
@rounds_option(5)
@click.option("--seconds", type=ABOVE_ZERO, default=6.0, help="Load in a round, for each service.")
def main(rounds: int, seconds: float) -> int:
    """Run the comparison and print its tables in Markdown; return the exit status."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, timeout_ms = Path(name), f"{DEADLINE_S * 1000:.0f}"
        bodies = write_bodies(folder)
        running = {
            name: stack.enter_context(
                BentoMLServer(folder / name.replace(" ", "-"), target, REQUEST_TIMEOUT_MS=timeout_ms)
            )
            for name, target in SERVICES.items()
        }
        compare(running, bodies, rounds, seconds)
    return 0


def compare(running: dict[str, BentoMLServer], bodies: Sequence[Path], rounds: int, seconds: float) -> None:
    """Measure throughput and latency, then the behaviour in the bad cases."""
    for server in running.values():
        closed_loop(server.predict_url, bodies, 8, 3)
    print("| | clients | images/s (min–max) | p50 ms | p99 ms | not 200 |\n|---|---|---|---|---|---|")
    for clients in CLIENTS:
        seen: dict[str, list[Report]] = {name: [] for name in running}
        for _ in tqdm(range(rounds), desc=f"{clients} clients", leave=False):
            for name, server in running.items():
                seen[name].append(closed_loop(server.predict_url, bodies, clients, seconds))
        for name, reports in seen.items():
            rates = [one.rate for one in reports]
            half, most = (median(one.percentile_ms(share) for one in reports) for share in (0.5, 0.99))
            failed = sum(sum(one.failures.values()) for one in reports)
            print(f"| {name} | {clients} | {spread(rates, '.0f')} | {half:.0f} | {most:.0f} | {failed} |", flush=True)
    print("\n| | one bad image among 16 | cancelled | overload, 512 clients, deadline 2 s |\n|---|---|---|---|")
    for name, server in running.items():
        good = bodies[0].read_bytes()
        # The engine of the service as it is shipped cannot be made to fail; its tests do that.
        bad = "–" if server is running[THE_SERVICE] else asyncio.run(one_bad_item(server.predict_url, good))
        cells = [bad, asyncio.run(cancelled_requests(server, good))]
        load = closed_loop(server.predict_url, bodies, OVERLOAD_CLIENTS, 15, settle_s=0, back_off_s=1.0)
        statuses = ", ".join(f"{count} × {status}" for status, count in sorted(load.statuses.items()))
        in_time = sum(latency_ms <= 1000 * DEADLINE_S for latency_ms in load.latencies_ms) / load.seconds
        cells.append(f"{in_time:.0f}/s in time, p99 {load.percentile_ms(0.99):.0f} ms; {statuses}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
