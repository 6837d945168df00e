"""Versions that must not go live, at a swap and after a restart: what served before serves on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from model_store.catalog.reference import resolve
from model_store.store.remote import Remote
from tests.server import Server

from .versions import MODEL, Load, Start, Store, ask, reload, states, wait_until


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


def test_a_restart_onto_a_bad_version_falls_back(store: Store, serve: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    server = serve()
    server.wait_for("/readyz")
    assert server.stop() == 0
    store.publish("other answers", "stable")
    server = serve()
    server.wait_for("/readyz")
    assert ask(server, eight) == (1, 1)
    assert states(server)[2] == ("END", "FAILED_PRECONDITION")
    assert "falling back to version 1, which served last" in server.log
    assert server.stop() == 0


def test_a_restart_after_a_load_that_killed_the_runner_falls_back(
    store: Store, serve: Start, tmp_path: Path, eight: bytes
) -> None:
    store.publish("1", "stable")
    server = serve()
    server.wait_for("/readyz")
    assert server.stop() == 0
    store.publish("2", "stable")
    digest = resolve(Remote.open(store.url), "xception", 2).manifest_digest
    mark = tmp_path / "cache" / ".loading" / digest.replace(":", "-")
    mark.parent.mkdir(exist_ok=True)
    mark.write_text("2")  # As two runners left it that were killed for their memory while they loaded version 2.
    server = serve()
    server.wait_for("/readyz")
    assert ask(server, eight) == (1, 1)
    assert states(server)[2] == ("END", "RESOURCE_EXHAUSTED")
    assert "crashed 2 times" in server.log
    assert reload(server).status_code == 200
    assert ask(server, eight) == (2, 2)
    assert server.stop() == 0


def test_only_what_the_right_key_signed_is_served(store: Store, serve: Start, tmp_path: Path, eight: bytes) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for name, private in zip(("ours", "theirs"), keys, strict=True):
        private_format = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(private.private_bytes(*private_format))
        public_format = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(private.public_key().public_bytes(*public_format))
    store.publish("1", "stable", key=tmp_path / "ours.pem")
    server = serve(MODEL_PUBLIC_KEY=str(tmp_path / "ours.pub"))
    server.wait_for("/readyz")
    assert ask(server, eight) == (1, 1)
    for key, reason in ((None, "is not signed"), (tmp_path / "theirs.pem", "signed with another key")):
        version = store.publish("2", "stable", key=key)
        answer = reload(server)
        assert answer.status_code == 409
        assert reason in answer.json()["error"]
        assert states(server)[version] == ("END", "DATA_LOSS")
        assert ask(server, eight) == (1, 1)
    store.publish("3", "stable", key=tmp_path / "ours.pem")
    assert reload(server).status_code == 200
    assert ask(server, eight) == (4, 3)
    assert server.stop() == 0


def test_an_engine_that_hangs_while_it_is_loaded_holds_nothing_up(
    tmp_path: Path, store: Store, serve: Start, eight: bytes
) -> None:
    fault = tmp_path / "fault"
    store.publish("1", "stable")
    server = serve(target="tests.faults.faulty_app:EdgeService", FAULT_FILE=str(fault), LOAD_TIMEOUT_S="6")
    server.wait_for("/readyz")
    fault.write_text("load")
    store.publish("2", "stable")
    answer = reload(server)
    assert answer.status_code == 409
    assert "was not loaded within LOAD_TIMEOUT_S=6" in answer.json()["error"]
    assert states(server) == {1: ("AVAILABLE", "OK"), 2: ("END", "DEADLINE_EXCEEDED")}
    assert ask(server, eight) == (1, 1)
    fault.unlink()
    assert reload(server).status_code == 200
    assert ask(server, eight) == (2, 2)
    assert server.stop() == 0
