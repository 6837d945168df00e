"""The Jobs of the load test: their commands run as local processes, without a cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import run_module
from tests.server import ROOT, Demo, free_port

from .manifests import Manifest, find, overlay, pod_of

TIMEOUT_S = 120.0

API_KEY_VARIABLE = "LOADTEST_API_KEY"
"""The name in `loadtest/locustfile.py`, whose import would monkey-patch this process."""


def job(name: str) -> Manifest:
    """Return a Job."""
    return find(overlay("loadtest"), "Job", name)


def settings() -> dict[str, str]:
    """Return the data of the ConfigMap."""
    data: dict[str, str] = find(overlay("loadtest"), "ConfigMap", "xception-loadtest")["data"]
    return data


def command(name: str, **changed: str) -> list[str]:
    """Return the command of a Job, with `$(NAME)` expanded as in a cluster."""
    (container,) = pod_of(job(name))["containers"]
    program, *words = container["args"]
    assert program == "locust"
    values = {**settings(), **changed}
    filled = [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in words]
    return [sys.executable, "-m", "locust", *filled]


def test_the_number_of_workers_is_what_the_master_expects() -> None:
    workers = job("xception-loadtest-workers")["spec"]
    assert workers["parallelism"] == workers["completions"] == int(settings()["WORKERS"])


def test_workers_find_the_master_and_all_find_the_service() -> None:
    service = find(overlay("loadtest"), "Service", "xception-loadtest")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True  # The master has no readiness probe to pass.
    assert "--master-host=xception-loadtest" in command("xception-loadtest-workers")
    assert settings()["HOST"] == f"http://{find(overlay('production'), 'Service', 'xception')['metadata']['name']}"


def test_a_failed_test_is_not_repeated() -> None:
    assert job("xception-loadtest")["spec"]["backoffLimit"] == 0
    for name in ("xception-loadtest", "xception-loadtest-workers"):
        assert pod_of(job(name))["restartPolicy"] == "Never"


def test_the_objectives_exist_in_the_image() -> None:
    assert (ROOT / settings()["OBJECTIVES"]).is_file()


def run_jobs(folder: Path, url: str, objective: str, **secret: str) -> tuple[list[int], dict[str, Any]]:
    """Run the Locust master and two workers.

    Args:
        folder: For objectives and report.
        url: The URL of the service.
        objective: The objective of the scenario.
        secret: Additional environment variables of the workers.

    Returns:
        The exit statuses, the master's first, and the report.
    """
    objectives = folder / "objectives.toml"
    objectives.write_text(f"[single]\n{objective}\n")
    changed = {"HOST": url, "SCENARIO": "single", "DURATION": "2", "OBJECTIVES": str(objectives)}
    port = str(free_port())
    leading = [*command("xception-loadtest", **changed), "--master-bind-port", port, f"--report={folder / 'report'}"]
    leading.append("--warm-up=0.5s")
    following = [*command("xception-loadtest-workers"), "--master-host=127.0.0.1", "--master-port", port]
    environment = {**os.environ, "HOME": str(folder), "MPLCONFIGDIR": str(folder)}
    processes = [
        subprocess.Popen(
            words, cwd=ROOT, env={**environment, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for words, more in ((leading, {}), (following, secret), (following, secret))
    ]
    try:
        outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    report = folder / "report" / "summary.json"
    assert report.is_file(), "\n".join(outputs)
    assert not any(
        value in text for value in map(str.strip, secret.values()) for text in (*outputs, report.read_text())
    )
    return [process.returncode for process in processes], json.loads(report.read_text())


def test_the_api_key_comes_from_an_optional_secret() -> None:
    (container,) = pod_of(job("xception-loadtest-workers"))["containers"]
    ((name, source),) = [(one["name"], one["valueFrom"]["secretKeyRef"]) for one in container["env"]]
    assert name == API_KEY_VARIABLE
    assert source == {"name": "xception-loadtest-key", "key": "key", "optional": True}
    (master,) = pod_of(job("xception-loadtest"))["containers"]
    assert "env" not in master


def test_leader_and_workers_send_load_with_a_key_and_judge_it(demo: Demo, tmp_path: Path) -> None:
    """One run that meets its objective, and one that does not."""
    keys = tmp_path / "keys.json"
    key = run_module("service.auth.__main__", "add", "loadtest", "--file", str(keys)).stdout.strip()
    with demo(API_KEYS_FILE=str(keys)) as guarded:
        for objective, status in (("max_failed_share = 0", 0), ("max_p50_ms = 0.001", 1)):
            statuses, summary = run_jobs(tmp_path, guarded.url, objective, **{API_KEY_VARIABLE: f"{key}\n"})
            assert statuses == [status, 0, 0]
            assert summary["measured"]["good"] == summary["measured"]["asked"] > 0
            assert summary["met"] is (status == 0)
