"""Bad versions are rejected under load: the version that served before keeps serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.server import Server

from .versions import MODEL, Load, Store, ask, reload, states, wait_until


class Live(NamedTuple):
    """A store and the service that follows it; each test leaves it with a version that serves."""

    store: Store
    server: Server


@pytest.fixture(scope="module")
def live(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    store = Store(folder, packages)
    store.publish("1", "stable")
    with Server(folder / "server", **store.settings) as server:
        yield Live(store, server)
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("flaw", "code", "reason"),
    [
        ("other answers", "FAILED_PRECONDITION", "golden"),
        ("unreadable", "INTERNAL", ""),
        ("other bytes", "DATA_LOSS", "expected sha256"),
    ],
)
def test_a_bad_version_never_serves(live: Live, eight: bytes, flaw: str, code: str, reason: str) -> None:
    store, server = live
    good, shift = ask(server, eight)
    bad = store.publish(flaw, "stable")
    if flaw == "other bytes":
        weights = store.folder / "xception" / str(bad) / "openvino" / "fp32.bin"
        data = bytearray(weights.read_bytes())
        data[1000] ^= 1
        weights.write_bytes(data)
    with Load(server, eight, clients=2) as load:
        wait_until(lambda: load.answers.total() > 0)
        answer = reload(server)
    assert answer.status_code == 409
    assert f"version {bad} (label 'stable') cannot be served" in answer.json()["error"]
    assert reason in answer.json()["error"]
    assert load.failures == []
    assert set(load.answers) == {(good, shift)}
    # Where a swap came just before, the version of that time may have requests to answer still.
    wait_until(lambda: [version for version, (state, _) in states(server).items() if state != "END"] == [good])
    now = states(server)
    assert (now[good], now[bad]) == (("AVAILABLE", "OK"), ("END", code))
    status = server.client.get(f"{MODEL}/versions/{bad}").json()["model_version_status"][0]
    assert reason in status["status"]["error_message"]
    assert server.client.post(f"{MODEL}/versions/{bad}:predict", content=eight).status_code == 404
    assert (
        f'xception_model_failures_total{{error_code="{code}",model="xception"}} 1.0'
        in server.client.get("/metrics").text
    )
    assert f"version {bad} (label 'stable') cannot be served" in server.log
    assert ask(server, eight) == (good, shift)
    another = shift % 3 + 1
    mended = store.publish(str(another), "stable")
    assert reload(server).status_code == 200
    assert ask(server, eight) == (mended, another)
