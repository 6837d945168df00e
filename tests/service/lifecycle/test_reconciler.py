"""The life of versions where the machine does not let it be lived."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from service.batching.batcher import Batcher
from service.lifecycle.loaded_version import LoadedVersion
from service.lifecycle.reconciler import Reconciler
from service.settings import Settings
from service.telemetry.metrics import RunnerMetrics
from tests.model_store.samples import write_version
from tests.server import ROOT

START = """
import asyncio, sys
from pathlib import Path
from model_store.errors import DiskError
from service.batching.batcher import Batcher
from service.core.errors import ServiceError
from service.lifecycle.reconciler import Reconciler
from service.telemetry.metrics import RunnerMetrics
from service.settings import Settings
from service.lifecycle.desired_state import pull_default

settings = Settings(model_store_url=sys.argv[1], model_cache_dir=Path(sys.argv[2]))
observer = RunnerMetrics()

async def main():
    lifecycle = Reconciler(settings, observer, Batcher(observer, max_images=1, max_bytes=1))
    lifecycle.start()
    try:
        async with asyncio.timeout(20):
            await lifecycle.reload()
    except ServiceError as error:
        print("reload:", error)
    await lifecycle.stop()

try:
    pull_default(settings)
except DiskError as error:
    print("pull:", error)
asyncio.run(main())
"""


@pytest.mark.parametrize("away", [False, True], ids=["store there", "store away"])
def test_a_cache_that_may_not_be_entered_is_said_and_ends_nothing(tmp_path: Path, away: bool) -> None:
    """The folder is another user's, as a volume may be: root, who may enter all, is kept from it here."""
    store = f"file://{tmp_path / 'store'}"
    publish(write_version(tmp_path / "version"), Remote.open(store, publishing=True), "xception", labels=["stable"])
    if away:
        store = "http://127.0.0.1:9/"
    cache = tmp_path / "cache"
    cache.mkdir(mode=0)
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*unprivileged, sys.executable, "-c", START, store, str(cache)]
    environment = {**os.environ, "MODEL_STORE_TIMEOUT_S": "1"}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)
    assert ran.returncode == 0, ran.stderr
    denied = "Permission denied; check the folder and its rights"
    pulled, reloaded = ran.stdout.splitlines()
    assert pulled.startswith(f"pull: {cache}")
    assert pulled.endswith(denied)
    if away:
        assert reloaded.startswith("reload: the labels cannot be read from the store")
        assert f"the record of the version that served last cannot be read: {cache}" in ran.stderr
    else:
        assert reloaded.startswith("reload: version 1 (label 'stable') cannot be served")
        assert denied in reloaded


async def test_a_stop_waits_until_it_is_kept_what_served_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is busy; the process ends with its threads in the middle of their work."""
    observer = RunnerMetrics()
    settings = Settings(model_store_url="file:///nowhere", model_cache_dir=tmp_path)
    lifecycle = Reconciler(settings, observer, Batcher(observer, max_images=1, max_bytes=1))
    kept: list[object] = []

    def record_last_served(model: object) -> None:
        time.sleep(0.3)
        kept.append(model)

    monkeypatch.setattr(lifecycle._source, "record_last_served", record_last_served)
    served = cast(LoadedVersion, SimpleNamespace(model="xception"))
    lifecycle._task = asyncio.create_task(lifecycle._record_last_served(served))
    await asyncio.sleep(0.05)
    await lifecycle.stop()
    assert kept == ["xception"]
