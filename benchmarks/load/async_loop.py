"""A closed loop of clients: each asks again as soon as it has its answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from benchmarks.measuring.summary import percentile


@dataclass
class Measurement:
    """What a loop saw."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Of the answers with status 200, in seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    """How many answers had which status; 0 stands for none at all."""

    @property
    def rate(self) -> float:
        """Return the answers with status 200 a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Return the latency below which this share of the answers lies, in ms."""
        return 1000 * percentile(self.latencies, share)


async def closed_loop(
    url: str, bodies: Sequence[bytes], clients: int, seconds: float, *, back_off_s: float = 0.0
) -> Measurement:
    """Post the bodies in turn from so many clients for so long.

    Args:
        url: Where to.
        bodies: JSON documents.
        clients: How many ask at once.
        seconds: How long.
        back_off_s: How long a client waits after it was refused, as well-behaved ones do.
    """
    measured = Measurement(seconds)
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, first: int) -> None:
        turn = first
        while (started := time.perf_counter()) < until:
            try:
                async with session.post(url, data=bodies[turn % len(bodies)]) as answer:
                    await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            measured.statuses[status] += 1
            if status == 200:
                measured.latencies.append(time.perf_counter() - started)
            elif back_off_s:
                await asyncio.sleep(back_off_s)
            turn += 1

    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        await asyncio.gather(*(client(session, number) for number in range(clients)))
    return measured
