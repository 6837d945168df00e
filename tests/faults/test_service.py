"""The service while something is broken: no model, no store, a dead runner, a full queue."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import psutil

from tests.conftest import run_module
from tests.server import ROOT, Server

from .versions import Start

PREDICT = "/v1/models/xception:predict"


def body_of(picture: Path, instances: int = 1) -> bytes:
    one = {"b64": b64encode(picture.read_bytes()).decode()}
    return json.dumps({"instances": [one] * instances}).encode()


def why_not_ready(server: Server, part: str) -> str:
    """Return what requests are told while there is no model, once it says so."""
    server.wait_for("/livez")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        answer = server.client.post(PREDICT, content=b'{"instances": [{"b64": ""}]}')
        assert answer.status_code == 503
        if part in answer.json()["error"]:
            break
        time.sleep(0.2)
    return str(answer.json()["error"])


def test_an_empty_store_is_waited_for(tmp_path: Path, package: Path, golden: list[Path], started: Start) -> None:
    store = tmp_path / "store"
    store.mkdir()
    server = started(MODEL_STORE_URL=f"file://{store}", LOAD_RETRY_MAX_S="1", ENGINE="openvino")
    server.wait_for("/livez")
    not_ready = server.wait_for("/readyz", 503)
    why_not_ready(server, "holds no model 'xception'")
    assert list(not_ready.json()) == ["error"]
    for answer in (
        server.client.post(PREDICT, content=body_of(golden[8])),
        server.client.post("/classify", content=golden[8].read_bytes()),
    ):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "holds no model 'xception'" in answer.json()["error"]
    run_module(
        "model_store", "publish", str(package), "--store", f"file://{store}", "--model", "xception", "--label", "stable"
    )
    server.wait_for("/readyz")
    assert server.client.post(PREDICT, content=body_of(golden[8])).status_code == 200
    assert server.stop() == 0


def test_a_damaged_version_never_serves(tmp_path: Path, store_url: str, started: Start) -> None:
    store = tmp_path / "store"
    shutil.copytree(store_url.removeprefix("file://"), store)
    weights = store / "xception" / "1" / "openvino" / "fp32.bin"
    damaged = bytearray(weights.read_bytes())
    damaged[1000] ^= 1
    weights.write_bytes(damaged)
    server = started(MODEL_STORE_URL=f"file://{store}", ENGINE="openvino")
    assert "fp32.bin: expected sha256" in why_not_ready(server, "expected")


def test_a_variant_that_answers_wrong_never_serves(tmp_path: Path, package: Path, started: Start) -> None:
    """The files are the promised ones, but the engine does not give the golden answers."""
    import hashlib

    import numpy as np

    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    scores = folder / "golden" / "scores.npy"
    np.save(scores, np.load(scores)[:, ::-1])
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(file for file in manifest["files"] if file["path"] == "golden/scores.npy")
    entry["sha256"], entry["size"] = hashlib.sha256(scores.read_bytes()).hexdigest(), scores.stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    store = f"file://{tmp_path / 'store'}"
    run_module("model_store", "publish", str(folder), "--store", store, "--model", "xception", "--label", "stable")
    server = started(MODEL_STORE_URL=store, ENGINE="openvino")
    server.wait_for("/livez")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        status = server.client.get("/v1/models/xception")
        if status.status_code == 200 and status.json()["model_version_status"]:
            version = status.json()["model_version_status"][0]
            if version["state"] == "END":
                break
        time.sleep(0.2)
    assert "differs by" in version["status"]["error_message"]
    assert version["status"]["error_code"] != "OK"
    assert server.client.get("/readyz").status_code == 503


def test_an_edge_and_a_runner_started_apart(tmp_path: Path, store_url: str, golden: list[Path]) -> None:
    """Each ends with its supervisor, also when that is killed."""
    runner = Server(
        tmp_path / "runner", target="service.app:RunnerService", MODEL_STORE_URL=store_url, ENGINE="openvino"
    )
    with runner, Server(tmp_path / "edge", RUNNER_URL=runner.url) as edge:
        assert edge.client.post(PREDICT, content=body_of(golden[8])).status_code == 200
        kill_supervisor(runner)
        response = edge.client.post(PREDICT, content=body_of(golden[8]))
        assert response.status_code == 503
        assert "the runner does not answer" in response.json()["error"]
        kill_supervisor(edge)


def kill_supervisor(server: Server) -> None:
    """Kill the process that looks after the others, and wait until they have ended by themselves."""
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert family
    server.process.kill()
    server.process.wait()
    assert not psutil.wait_procs(family, timeout=30)[1], server.log


def test_a_bad_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    """Which values are bad, and what is said of each, is tested in tests/service/test_settings.py."""
    server = Server(tmp_path, QUEUE_MAX_IMAGES="0").start()
    assert server.process is not None
    assert server.process.wait(60) != 0
    assert server.log.splitlines()[-1].startswith("Settings: QUEUE_MAX_IMAGES=0: Input should be greater than")
    assert "Traceback" not in server.log


def test_the_bento_holds_no_weights(tmp_path: Path) -> None:
    environment = {"BENTOML_HOME": str(tmp_path), "PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in (tmp_path / "bentos").rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"app.py", "manifest.py", "bento.yaml"} <= names
    assert not [path for path in files if path.suffix in {".h5", ".keras", ".bin", ".pb", ".npy"}]
    assert sum(path.stat().st_size for path in files) < 5 * 2**20
