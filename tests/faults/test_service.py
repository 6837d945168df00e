"""The processes of the service: started apart, with a bad setting, and built into a Bento."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import psutil

from tests.server import ROOT, Server

PREDICT = "/v1/models/xception:predict"


def body_of(image: Path) -> bytes:
    return json.dumps({"instances": [{"b64": b64encode(image.read_bytes()).decode()}]}).encode()


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
