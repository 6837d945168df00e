"""BentoML's `batchable=True` and this project's batcher side by side: `python -m benchmarks batchers`.

Both stand behind the same edge and the same typed call, with the same engine and pictures; the service as it
is shipped runs as the third. Rounds alternate, medians count. Needs a published model (`make model`); other
work on the machine spoils the figures. docs/adr/0001-own-micro-batcher.md keeps a result.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import aiohttp
import orjson
from PIL import Image
from tqdm import tqdm

from benchmarks.load.async_loop import Measurement, closed_loop
from benchmarks.measuring.summary import spread
from benchmarks.servers.local_server import LocalServer
from loadtest.load.images import SIZES, predict_body

CONTESTANTS = {
    "BentoML batchable": "benchmarks.batching.batcher_services:BentoMLBatching",
    "own batcher, same hop": "benchmarks.batching.batcher_services:OwnBatching",
    "the service": "service.app:EdgeService",
}
CLIENTS = (1, 8, 32)
OVERLOAD_CLIENTS = 512
DEADLINE_S = 2.0


def magenta() -> bytes:
    """Return a request whose image makes the engine of the two prototypes fail."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "magenta").save(out, "PNG")
    return orjson.dumps({"instances": [{"b64": b64encode(out.getvalue()).decode()}]})


async def one_bad_item(url: str, good: bytes) -> str:
    """Send a bad image among 15 good ones and tell how the good ones fared; three tries, the worst counts."""
    worst = 16
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def status(body: bytes) -> int:
            async with session.post(url, data=body) as answer:
                return answer.status

        for _ in range(3):
            statuses = await asyncio.gather(*(status(magenta() if place == 7 else good) for place in range(16)))
            worst = min(worst, sum(code == 200 for place, code in enumerate(statuses) if place != 7))
    return f"{worst} of 15 good ones answered"


async def cancelled_requests(contestant: LocalServer, good: bytes) -> str:
    """Send 64 requests, hang up on all after 150 ms, and tell how many images the engine ran all the same."""

    async def ran(session: aiohttp.ClientSession) -> int:
        async with session.get(f"{contestant.url}/ran") as answer:
            if answer.status == 200:
                return int((await answer.json())["images"])
        async with session.get(f"{contestant.url}/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.startswith("xception_batch_size_sum"):
                    return int(float(line.split()[-1]))
        return 0

    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        before = await ran(session)
        tasks = [asyncio.ensure_future(session.post(contestant.predict, data=good)) for _ in range(64)]
        await asyncio.sleep(0.15)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(3)
        return f"{await ran(session) - before} of 64 run"


async def overload(url: str, bodies: list[bytes]) -> Measurement:
    """Ask from more clients than can be served within the deadline of 2 s; who is refused waits a second."""
    return await closed_loop(url, bodies, OVERLOAD_CLIENTS, 15, back_off_s=1.0)


def main(arguments: list[str]) -> int:
    """Run the comparison and print its tables in Markdown; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks batchers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the contestants alternate in each (5)")
    parser.add_argument("--seconds", type=float, default=6, help="seconds of load a round and contestant (6)")
    options = parser.parse_args(arguments)
    bodies = [predict_body(SIZES[1], 1)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        running = {}
        for name, target in CONTESTANTS.items():
            home, timeout_ms = Path(folder) / name.replace(" ", "-"), f"{DEADLINE_S * 1000:.0f}"
            running[name] = stack.enter_context(LocalServer(home, target, REQUEST_TIMEOUT_MS=timeout_ms))
        compare(running, bodies, options.rounds, options.seconds)
    return 0


def compare(running: dict[str, LocalServer], bodies: list[bytes], rounds: int, seconds: float) -> None:
    """Measure throughput and latency, then the behaviour in the bad cases."""
    for contestant in running.values():
        asyncio.run(closed_loop(contestant.predict, bodies, 8, 3))
    print("| | clients | images/s (min–max) | p50 ms | p99 ms | not 200 |\n|---|---|---|---|---|---|")
    for clients in CLIENTS:
        seen: dict[str, list[Measurement]] = {name: [] for name in running}
        for _ in tqdm(range(rounds), desc=f"{clients} clients", leave=False):
            for name, contestant in running.items():
                seen[name].append(asyncio.run(closed_loop(contestant.predict, bodies, clients, seconds)))
        for name, all_rounds in seen.items():
            rates = [one.rate for one in all_rounds]
            half, most = (median(one.percentile_ms(share) for one in all_rounds) for share in (0.5, 0.99))
            failed = sum(count for one in all_rounds for status, count in one.statuses.items() if status != 200)
            print(f"| {name} | {clients} | {spread(rates, '.0f')} | {half:.0f} | {most:.0f} | {failed} |", flush=True)
    print("\n| | one bad image among 16 | hung up on | overload, 512 clients, deadline 2 s |\n|---|---|---|---|")
    for name, contestant in running.items():
        # The service as it is shipped has no engine that can be made to fail; its tests do that.
        bad = "–" if name == "the service" else asyncio.run(one_bad_item(contestant.predict, bodies[0]))
        cells = [bad, asyncio.run(cancelled_requests(contestant, bodies[0]))]
        load = asyncio.run(overload(contestant.predict, bodies))
        statuses = ", ".join(f"{count} × {status or 'cut off'}" for status, count in sorted(load.statuses.items()))
        in_time = sum(latency <= DEADLINE_S for latency in load.latencies) / load.seconds
        cells.append(f"{in_time:.0f}/s in time, p99 {load.percentile_ms(0.99):.0f} ms; {statuses}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
