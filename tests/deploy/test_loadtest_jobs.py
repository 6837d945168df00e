"""The Jobs of the load test: their commands run here, as processes; how a cluster starts them is not seen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, Server, free_port

from .manifests import Manifest, find, overlay, pod_of

TIMEOUT_S = 120.0


def job(name: str) -> Manifest:
    """Return a Job."""
    return find(overlay("loadtest"), "Job", name)


def settings() -> dict[str, str]:
    """Return what the ConfigMap says."""
    data: dict[str, str] = find(overlay("loadtest"), "ConfigMap", "xception-loadtest")["data"]
    return data


def command(name: str, **changed: str) -> list[str]:
    """Return the command of a Job, with what a cluster puts in for `$(NAME)`."""
    (container,) = pod_of(job(name))["containers"]
    program, *words = container["args"]
    assert program == "locust"
    values = {**settings(), **changed}
    filled = [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in words]
    return [sys.executable, "-m", "locust", *filled]


def test_as_many_workers_come_as_the_leader_waits_for() -> None:
    workers = job("xception-loadtest-workers")["spec"]
    assert workers["parallelism"] == workers["completions"] == int(settings()["WORKERS"])


def test_workers_find_the_leader_and_all_find_the_service() -> None:
    service = find(overlay("loadtest"), "Service", "xception-loadtest")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True  # The leader is never ready: it has no probe to pass.
    assert "--master-host=xception-loadtest" in command("xception-loadtest-workers")
    assert settings()["HOST"] == f"http://{find(overlay('production'), 'Service', 'xception')['metadata']['name']}"


def test_a_verdict_is_final() -> None:
    assert job("xception-loadtest")["spec"]["backoffLimit"] == 0
    for name in ("xception-loadtest", "xception-loadtest-workers"):
        assert pod_of(job(name))["restartPolicy"] == "Never"


def test_the_objectives_are_those_of_the_image() -> None:
    assert (ROOT / settings()["OBJECTIVES"]).is_file()


@pytest.mark.parametrize(("objective", "status"), [("max_failed_share = 1", 0), ("max_p50_ms = 0.001", 1)])
def test_leader_and_workers_put_load_on_and_judge_it(
    server: Server, tmp_path: Path, objective: str, status: int
) -> None:
    objectives = tmp_path / "objectives.toml"
    objectives.write_text(f"[single]\n{objective}\n")
    changed = {"HOST": server.url, "SCENARIO": "single", "DURATION": "2", "OBJECTIVES": str(objectives)}
    port = str(free_port())
    report = f"--report={tmp_path / 'report'}"
    leading = [*command("xception-loadtest", **changed), "--master-bind-port", port, report]
    following = [*command("xception-loadtest-workers"), "--master-host=127.0.0.1", "--master-port", port]
    environment = {**os.environ, "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    processes = [
        subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for words in (leading, following, following)
    ]
    try:
        said = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [status, 0, 0], "\n".join(said)
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["measured"]["good"] > 0
    assert summary["met"] is (status == 0)
