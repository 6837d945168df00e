"""A store of versions that differ in their scores, and the life cycle that serves them, within the process."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_store.catalog.labels import LabelTarget, set_label
from model_store.catalog.reference import Resolved, resolve
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from model_store.trust.manifest import InputContract, Variant
from model_store.trust.signing import Signer
from service.batching.batcher import Batcher
from service.core.deadline import Deadline
from service.core.serving_state import ModelSpec, VersionState
from service.lifecycle.reconciler import Reconciler
from service.settings import Settings
from service.telemetry.metrics import RunnerMetrics
from tests.model_store.samples import write_version

from .shifting_engine import CLASSES, scores

FLAWS: Mapping[str, Mapping[str, bytes]] = {"unreadable": {"weights": b"not a number"}}


def npy(array: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def image(value: int) -> NDArray[np.uint8]:
    return np.full((1, 4, 4, 3), value, np.uint8)


class Store:
    """A store of versions of the model `xception` for the shifting engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        self.url = f"file://{self.folder}"
        self._packages = folder / "packages"

    def publish(self, shift: int, *labels: str, flaw: str | None = None, key: Path | None = None) -> int:
        """Publish a version; `flaw` is `golden`, for scores that its engine does not give, or one of `FLAWS`."""
        pixels = np.concatenate([image(value) for value in range(CLASSES)])
        files = {
            "weights": str(shift).encode(),
            "golden/pixels.npy": npy(pixels),
            "golden/scores.npy": npy(scores(pixels, shift + (flaw == "golden"))),
            **FLAWS.get(flaw or "", {}),
        }
        folder = self._packages / str(len(list(self._packages.glob("*"))))
        write_version(
            folder,
            files,
            input=InputContract(height=4, width=4),
            classes=tuple("abcd"),
            variants=(Variant(engine="shifting", precision="fp32", path="weights", files=("weights",)),),
        )
        signer = Signer.from_file(key) if key else None
        return publish(folder, self._remote, "xception", labels=labels, signer=signer).version

    def label(self, label: str, version: int) -> None:
        target = LabelTarget(version=version, manifest=self.resolve(version).manifest_digest)
        set_label(self._remote, "xception", label, target)

    def resolve(self, version: int) -> Resolved:
        return resolve(self._remote, "xception", version)

    def damage(self, version: int) -> None:
        (self.folder / "xception" / str(version) / "weights").write_bytes(b"9")

    @property
    def _remote(self) -> Remote:
        return Remote.open(self.url, publishing=True)


class Service:
    """Reconciler and batcher, as a runner starts and stops them; labels are read when told to, unless it polls."""

    def __init__(self, store_url: str, cache: Path, **settings: object) -> None:
        values = {"model_store_url": store_url, "model_cache_dir": cache, "model_poll_s": 0, "max_batch_size": 2}
        observer = RunnerMetrics()
        self.batcher = Batcher(observer, max_images=64, max_bytes=2**20)
        self.reconciler = Reconciler(Settings.model_validate({**values, **settings}), observer, self.batcher)

    async def start(self) -> None:
        self.batcher.start()
        self.reconciler.start()

    async def stop(self) -> None:
        await self.batcher.stop()
        await self.reconciler.stop()

    async def ready(self) -> None:
        await until(lambda: self.reconciler.ready)

    async def serves(self, version: int | None = None, label: str | None = None) -> tuple[int, int]:
        """Return the number of the version of a request, and the shift by which it was served."""
        model = self.reconciler.versions.describe().require(ModelSpec("xception", version, label), "no such version")
        result = await self.batcher.submit(self.reconciler.versions.get(model.version), image(0), Deadline(10))
        return model.version, int(result.scores[0].argmax())

    def states(self) -> dict[int, tuple[VersionState, str]]:
        statuses = self.reconciler.versions.describe().versions
        return {status.version: (status.state, status.error_code) for status in statuses}

    def error_of(self, version: int) -> str:
        statuses = self.reconciler.versions.describe().versions
        return next(status.error_message for status in statuses if status.version == version)

    @asynccontextmanager
    async def under_load(self, clients: int = 4) -> AsyncIterator[Counter[tuple[int, int]]]:
        """Send requests without a pause; count what they were served by. An error fails the test."""
        served: Counter[tuple[int, int]] = Counter()

        async def client() -> None:
            while True:
                served[await self.serves()] += 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client()) for _ in range(clients)]
            await until(lambda: served.total() > 20)
            yield served
            for task in tasks:
                task.cancel()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- of another task
            await asyncio.sleep(0.005)
