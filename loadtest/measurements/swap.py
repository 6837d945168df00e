"""Versions come, go and break under load: `python -m loadtest swap`.

Starts the service on a store of its own, keeps clients asking without a pause, and meanwhile points `stable` to one
version after the other, rolls back, and publishes versions that must not go live. Every answer is checked: the
version that it names must be the one that its scores come from. Prints failures, latency before, during and after
the swaps, and the memory of the runner after each. Needs a package (`make model`); other work spoils the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
from tqdm import tqdm

from loadtest.figures import percentile
from loadtest.pictures import SIZES, predict_body
from model_store.history import roll_back
from model_store.labels import LabelTarget, set_label
from model_store.publish import publish
from model_store.remote import Remote

from .local_server import LocalServer
from .versions import Flaw, derive_version

MODEL = "xception"
CLASSES = 10
TOKEN = "token-of-the-swap-test"
"""Opens the reload route of the service that is started here."""


@dataclass(frozen=True)
class Seen:
    """One answer, or none."""

    at: float
    seconds: float
    status: int
    version: int
    best: int
    """The class with the highest score."""


@dataclass
class Phase:
    """What was seen while one thing went on, perhaps several times."""

    name: str
    windows: list[tuple[float, float]] = field(default_factory=list)

    def of(self, answers: Iterable[Seen]) -> list[Seen]:
        """Return the requests that were under way in it."""
        return [
            seen
            for seen in answers
            if any(start <= seen.at + seen.seconds and seen.at <= end for start, end in self.windows)
        ]


class Clients:
    """Ask without a pause, and keep every answer."""

    def __init__(self, url: str, count: int) -> None:
        self.answers: list[Seen] = []
        self._url = url
        self._count = count
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Clients:
        """Begin to ask."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"Content-Type": "application/json"}
        )
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let the last answers come."""
        self._stopped = True
        await asyncio.gather(*self._tasks)
        await self._session.close()

    async def _ask(self) -> None:
        body = predict_body(SIZES[1], 1)
        while not self._stopped:
            started = time.perf_counter()
            status, version, best = 0, 0, -1
            try:
                async with self._session.post(self._url, data=body) as answer:
                    data = await answer.read()
                    status = answer.status
                    if status == 200:
                        scores = orjson.loads(data)["predictions"][0]
                        version, best = int(answer.headers["x-model-version"]), scores.index(max(scores))
            except (aiohttp.ClientError, TimeoutError):
                pass
            self.answers.append(Seen(started, time.perf_counter() - started, status, version, best))


class Swapper:
    """Moves the label, and knows by how much each version shifts the classes."""

    def __init__(self, store: str, package: Path, folder: Path) -> None:
        self._remote = Remote.open(store, publishing=True)
        self._package = package
        self._folder = folder
        self.targets: dict[int, LabelTarget] = {}
        self.shifts: dict[int, int] = {}

    def publish(self, shift: int, flaw: Flaw | None = None, label: bool = False) -> int:
        """Publish a version and return its number."""
        folder = derive_version(self._package, self._folder / f"{shift}-{flaw}", shift, flaw)
        done = publish(folder, self._remote, MODEL, labels=["stable"] if label else [])
        self.targets[done.version] = LabelTarget(version=done.version, manifest=done.digest)
        self.shifts[done.version] = shift
        return done.version

    def label(self, version: int) -> None:
        """Point `stable` to a version."""
        set_label(self._remote, MODEL, "stable", self.targets[version])

    def rollback(self) -> None:
        """Point `stable` to where it stood before."""
        roll_back(self._remote, MODEL, "stable")


async def reload(server: LocalServer) -> tuple[int, str]:
    """Have the service follow the labels now; return status and body once it has."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.post(f"{server.model_url}/reload") as answer,
    ):
        return answer.status, await answer.text()


async def in_memory(server: LocalServer) -> int:
    """Return how many versions the service holds, those that are being unloaded included."""
    async with aiohttp.ClientSession() as session, session.get(server.model_url) as answer:
        statuses = (await answer.json())["model_version_status"]
    return sum(status["state"] not in ("END", "START") for status in statuses)


async def swap(server: LocalServer, move: Callable[[], None], phase: Phase) -> tuple[float, int, str]:
    """Move the label by `move`, and wait until the old version is gone.

    Returns:
        The seconds until the new version answered, and status and body of the reload.
    """
    started = time.perf_counter()
    await asyncio.to_thread(move)
    status, text = await reload(server)
    followed = time.perf_counter() - started
    while await in_memory(server) > 1:  # noqa: ASYNC110 -- what is waited for happens in another process
        await asyncio.sleep(0.1)
    phase.windows.append((started, time.perf_counter()))
    return followed, status, text


async def run(server: LocalServer, swapper: Swapper, options: argparse.Namespace) -> None:
    """Take all steps under load, then print what was seen."""
    others = sorted(swapper.targets)[1:]
    broken = [swapper.publish(0, "golden"), swapper.publish(0, "engine")]
    before, during = Phase("before"), Phase(f"during {len(others)} swaps, each with a pull")
    after, back = Phase("after"), Phase("rollback")
    refused = Phase("a version is refused (twice)")
    memory: list[float] = []
    async with Clients(server.predict, options.clients) as clients:
        await asyncio.sleep(3)
        memory.append(server.memory_mib()["runner"])
        start = time.perf_counter()
        await asyncio.sleep(options.before)
        before.windows.append((start, time.perf_counter()))
        durations = []
        for version in tqdm(others, desc="Swaps", leave=False):
            seconds, status, text = await swap(server, lambda version=version: swapper.label(version), during)  # type: ignore[misc]
            assert status == 200, text
            durations.append(seconds)
            start = time.perf_counter()
            await asyncio.sleep(options.rest)
            after.windows.append((start, time.perf_counter()))
            memory.append(server.memory_mib()["runner"])
        rollback_s, status, text = await swap(server, swapper.rollback, back)
        assert status == 200, text
        await asyncio.sleep(options.rest)
        for version in broken:
            _, status, text = await swap(server, lambda version=version: swapper.label(version), refused)  # type: ignore[misc]
            assert status == 409, text
            print(f"refused with {status}: {text}")
        await asyncio.sleep(options.rest)
    report(clients.answers, [before, during, after, back, refused], swapper.shifts)
    print(
        f"\nFrom moving the label to the new version's answers: {min(durations):.2f}–{max(durations):.2f} s; ", end=""
    )
    print(f"rollback {rollback_s:.2f} s")
    print("Runner's memory (MiB) before and after each swap: " + ", ".join(f"{size:.0f}" for size in memory))


def report(answers: list[Seen], phases: list[Phase], shifts: dict[int, int]) -> None:
    """Print the table of phases, and whether any answer was of another version than it named."""
    good = [seen for seen in answers if seen.status == 200]
    bases = Counter((seen.best - shifts[seen.version]) % CLASSES for seen in good)
    by_version = Counter(seen.version for seen in good)
    print("\n| | seconds | requests | failed | p50 ms | p99 ms | p99 ÷ before |\n|---|---|---|---|---|---|---|")
    reference = 0.0
    for phase in phases:
        seen = phase.of(answers)
        answered_s = [one.seconds for one in seen if one.status == 200]
        half, most = (1000 * percentile(answered_s, share) for share in (0.5, 0.99))
        reference = reference or most
        seconds = sum(end - start for start, end in phase.windows)
        failed = len(seen) - len(answered_s)
        cells = f"{seconds:.1f} | {len(seen)} | {failed} | {half:.0f} | {most:.0f} | {most / reference:.2f}"
        print(f"| {phase.name} | {cells} |")
    print(f"\n{len(answers)} requests, {len(answers) - len(good)} failed", end="; ")
    print(f"{len(good) - max(bases.values())} answers of another version than they name")
    print("Answers by version: " + ", ".join(f"{version}: {count}" for version, count in sorted(by_version.items())))


def main(arguments: list[str]) -> int:
    """Make the versions, start the service, and run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest swap", description=__doc__)
    parser.add_argument("--package", type=Path, default=Path(".local/package"), help="a packaged version of 10 classes")
    parser.add_argument("--store", help="an empty place, such as s3://bucket/swap (a temporary folder)")
    parser.add_argument("--clients", type=int, default=8, help="how many ask at once (8)")
    parser.add_argument("--swaps", type=int, default=10, help="how many versions follow one another (10)")
    parser.add_argument("--before", type=float, default=60, help="seconds of load before the first swap (60)")
    parser.add_argument("--rest", type=float, default=5, help="seconds of load after each (5)")
    options = parser.parse_args(arguments)
    if not (options.package / "manifest.json").is_file():
        raise SystemExit(f"{options.package}: is no package; `make model` makes one")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = options.store or f"file://{folder / 'store'}"
        swapper = Swapper(store, options.package, folder)
        for shift in tqdm(range(options.swaps + 1), desc="Publishing", leave=False):
            swapper.publish(shift, label=shift == 0)
        settings = {"MODEL_STORE_URL": store, "MODEL_CACHE_DIR": str(folder / "cache"), "MODEL_NAME": MODEL}
        os.environ["MODEL_NAME"] = MODEL
        with LocalServer(folder / "server", ADMIN_TOKEN=TOKEN, MODEL_POLL_S="0", **settings) as server:
            asyncio.run(run(server, swapper, options))
    return 0
